// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/ioload"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// server is the host of the DPU: it has the disk connected and does verified I/O on it all the time.
type server struct {
	registry  *bdev.Registry
	initiator *host.Host
	disk      *bdev.Desc
	stop      context.CancelFunc
	done      chan *ioload.Result
	ops       atomic.Uint64
}

// connect attaches the disk as a host that waits for it however long it is away.
func connect(t *testing.T, port int) *server {
	t.Helper()
	s := &server{registry: bdev.NewRegistry(), done: make(chan *ioload.Result, 1)}
	var err error
	s.initiator, err = host.New(host.Config{Registry: s.registry})
	must(t, err)
	o := s.initiator.AttachDefaults()
	o.Name, o.HostNQN = "h", hostNQN
	o.Trid = host.TransportID{Trtype: "TCP", Adrfam: "IPv4", Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(port), Subnqn: diskNQN}
	o.Recovery = host.Recovery{LossTimeoutSec: -1, ReconnectDelaySec: 1}
	names, err := s.initiator.Attach(t.Context(), o)
	must(t, err)
	if len(names) != 1 {
		t.Fatalf("the host sees %v", names)
	}
	s.disk, err = s.registry.Open(names[0], true, bdev.Events{})
	must(t, err)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_ = s.disk.Close()
		_ = s.initiator.Close(ctx)
		_ = s.registry.Close(ctx)
	})
	return s
}

// begin starts the I/O.
func (s *server) begin(t *testing.T) {
	t.Helper()
	load, err := ioload.New(ioload.Config{
		Device: s.disk, Depth: 8, Blocks: (8 << 20) / 512, WritePercent: 50, Verify: true, Seed: 1, Operations: 1 << 60,
		OnProgress: func(uint64) { s.ops.Add(1) },
	})
	must(t, err)
	filled, err := load.Fill(t.Context())
	must(t, err)
	clean(t, filled)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	s.stop = cancel
	go func() {
		// That the run is cut short is how it ends; what counts is in the result.
		result, _ := load.Run(ctx)
		s.done <- result
	}()
}

// end stops the I/O and checks that no request failed and no byte was wrong. It returns how long the
// longest request took.
func (s *server) end(t *testing.T) time.Duration {
	t.Helper()
	s.stop()
	result := <-s.done
	clean(t, result)
	t.Logf("%d reads and %d writes, the longest took %s", result.Reads, result.Writes, result.Latency.Max())
	return result.Latency.Max()
}

// goOn waits until the host has done more.
func (s *server) goOn(t *testing.T, requests uint64, what string) {
	t.Helper()
	done := s.ops.Load()
	testkit.Eventually(t, "I/O "+what, func() error {
		if now := s.ops.Load(); now < done+requests {
			return fmt.Errorf("%d requests since", now-done)
		}
		return nil
	})
}

func clean(t *testing.T, r *ioload.Result) {
	t.Helper()
	if r.Errors > 0 || r.Mismatched > 0 {
		t.Errorf("%d requests failed (%v), %d blocks were wrong %v", r.Errors, r.FirstError, r.Mismatched, r.Mismatches)
	}
}
