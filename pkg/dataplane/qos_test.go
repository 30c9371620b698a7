// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// lockedLog keeps what is logged, at every level.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lockedLog) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

const limitsTrap = "-32602 Failed to configure rate limit: Resource temporarily unavailable"

// TestIdleLimitsTrap walks through who counts as a user of a bdev with limits.
func TestIdleLimitsTrap(t *testing.T) {
	s, path := serve(t)
	c := dial(t, path)
	c.encrypted()
	n := 0
	set := func(name string) string {
		n++
		return said(c.call("bdev_set_qos_limit", fmt.Sprintf(`{"name":%q,"rw_ios_per_sec":%d}`, name, n*1000)))
	}
	want := func(when, name, answer string) {
		t.Helper()
		if got := set(name); got != answer {
			t.Errorf("%s: limits of %s: %s, want %s", when, name, got, answer)
		}
	}
	want("the first", "m", "true")
	want("with a crypto bdev that nobody uses", "m", limitsTrap)
	want("the first", "c", "true")
	want("the second", "c", limitsTrap)
	c.must("nvmf_create_subsystem", "{"+someSubsystem+"}")
	c.must("nvmf_subsystem_add_ns", "{"+someSubsystem+`,"namespace":{"bdev_name":"c"}}`)
	want("of a namespace", "c", "true")
	want("below a namespace", "m", "true")
	c.must("bdev_malloc_create", `{"name":"v","block_size":512,"num_blocks":64}`)
	want("the first", "v", "true")
	c.must("vhost_create_blk_controller", `{"ctrlr":"blk","dev_name":"v"}`)
	c.must("vhost_create_scsi_controller", `{"ctrlr":"scsi"}`)
	c.must("vhost_scsi_controller_add_target", `{"ctrlr":"scsi","scsi_target_num":0,"bdev_name":"v"}`)
	want("of controllers without a virtual machine", "v", limitsTrap)
	c.must("nvmf_subsystem_remove_ns", "{"+someSubsystem+`,"nsid":1}`)
	want("when the namespace has gone", "c", limitsTrap)
	info, err := s.bdevs.Lookup("c")
	if err != nil || info.Limits.IOPS != 5000 {
		t.Errorf("limits that a call did not change: %+v (%v)", info, err)
	}
	// Several calls written together are carried out one after the other.
	c.must("nvmf_subsystem_add_ns", "{"+someSubsystem+`,"namespace":{"bdev_name":"c"}}`)
	for i := range 20 {
		c.send(fmt.Sprintf(`{"id":%d,"method":"bdev_set_qos_limit","params":{"name":"c","rw_ios_per_sec":%d}}`, i, 1000*(i+1)))
	}
	for i := range 20 {
		if a := c.receive(); a.ID != float64(i) || said(a) != "true" {
			t.Errorf("answer %d: %v %s", i, a.ID, said(a))
		}
	}
	if info, _ := s.bdevs.Lookup("c"); info.Limits.IOPS != 20000 {
		t.Errorf("limits after 20 changes: %+v", info.Limits)
	}
}

// TestLimitsHoldOverTheWire reads over NVMe/TCP from a bdev in memory, which the target reads in place
// when there are no limits. However fast the machine is, so many requests must not take less time;
// how much more a busy one takes says nothing (see TestLimitsHold of package bdev for that).
func TestLimitsHoldOverTheWire(t *testing.T) {
	s, path := serve(t)
	c := dial(t, path)
	c.target("bdev_malloc_create")
	d, err := s.bdevs.Open("rn1", false, bdev.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // it never fails
	for _, limit := range []int{1000, 4000} {
		c.must("bdev_set_qos_limit", fmt.Sprintf(`{"name":"d","rw_ios_per_sec":%d}`, limit))
		readMany(t, d, 100) // what was under way
		began := time.Now()
		readMany(t, d, limit/4)
		if took := time.Since(began); took < 237*time.Millisecond {
			t.Errorf("%d requests with %d allowed in a second took %v", limit/4, limit, took)
		}
	}
}

// readMany reads a block as often, 32 requests at a time.
func readMany(t *testing.T, d bdev.Device, requests int) {
	t.Helper()
	var left atomic.Int64
	left.Store(int64(requests))
	var wg sync.WaitGroup
	for range 32 {
		wg.Add(1)
		r := &bdev.Request{Op: bdev.OpRead, Count: 1, Data: make([]byte, 512)}
		r.Done = func(r *bdev.Request, err error) {
			if err != nil {
				t.Error(err)
			}
			if err != nil || left.Add(-1) < 0 {
				wg.Done()
				return
			}
			d.Submit(r)
		}
		d.Submit(r)
	}
	wg.Wait()
}
