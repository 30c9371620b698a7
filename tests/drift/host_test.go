// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"context"
	"strconv"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/ioload"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

// verifiedIO does verified I/O on the first namespace of a subsystem of the bridge until stop, which
// fails the test if a request failed or a byte was wrong.
func (r *rig) verifiedIO(nqn string, port int) (stop func()) {
	r.t.Helper()
	registry := bdev.NewRegistry()
	initiator, err := host.New(host.Config{Registry: registry})
	r.must(err)
	o := initiator.AttachDefaults()
	o.Name, o.HostNQN = "h", hostNQN
	o.Trid = host.TransportID{Trtype: "TCP", Adrfam: "IPv4", Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(port), Subnqn: nqn}
	o.Recovery = host.Recovery{LossTimeoutSec: -1, ReconnectDelaySec: 1}
	names, err := initiator.Attach(r.t.Context(), o)
	r.must(err)
	disk, err := registry.Open(names[0], true, bdev.Events{})
	r.must(err)
	load, err := ioload.New(ioload.Config{
		Device: disk, Depth: 4, Blocks: storageBlocks / 2, WritePercent: 50, Verify: true, Seed: 1, Operations: 1 << 60,
	})
	r.must(err)
	filled, err := load.Fill(r.t.Context())
	r.must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	done := make(chan *ioload.Result, 1)
	go func() {
		// That the run is cut short is how it ends; what counts is in the result.
		result, _ := load.Run(ctx)
		done <- result
	}()
	r.t.Cleanup(func() {
		cancel()
		ctx := context.WithoutCancel(r.t.Context())
		_ = disk.Close()
		_ = initiator.Close(ctx)
		_ = registry.Close(ctx)
	})
	return func() {
		cancel()
		for _, result := range []*ioload.Result{filled, <-done} {
			if result.Errors > 0 || result.Mismatched > 0 || result.Reads+result.Writes == 0 {
				r.t.Errorf("a host that nothing was done to: %d requests failed (%v), %d blocks were wrong, %d reads and %d writes",
					result.Errors, result.FirstError, result.Mismatched, result.Reads, result.Writes)
			}
		}
	}
}
