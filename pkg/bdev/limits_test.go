// SPDX-License-Identifier: Apache-2.0

package bdev_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/bdevtest"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

const mib = 1 << 20

// load keeps requests going on a bdev until it is stopped, and counts those that have ended.
type load struct {
	reads, writes         atomic.Uint64
	readBytes, writeBytes atomic.Uint64
	stop                  atomic.Bool
	wg                    sync.WaitGroup
}

// run submits requests of one kind and size, depth at a time, each again as soon as it has ended.
func (l *load) run(d bdev.Device, op bdev.Op, depth int, blocks uint64) {
	size := blocks * uint64(d.Geometry().BlockSizeBytes)
	for range depth {
		l.wg.Add(1)
		next := make(chan error, 1)
		r := &bdev.Request{Op: op, Count: blocks, Data: make([]byte, size), Done: func(_ *bdev.Request, err error) { next <- err }}
		go func() {
			defer l.wg.Done()
			for !l.stop.Load() {
				d.Submit(r)
				if <-next != nil {
					return
				}
				if op == bdev.OpRead {
					l.reads.Add(1)
					l.readBytes.Add(size)
				} else {
					l.writes.Add(1)
					l.writeBytes.Add(size)
				}
			}
		}()
	}
}

// within says whether got is at most 5 % away from want.
func within(got uint64, want float64) bool { return math.Abs(float64(got)-want) <= want*0.05 }

// inBubble runs a test on a malloc bdev m in a bubble, where time passes only while all wait.
func inBubble(t *testing.T, test func(t *testing.T, r *bdev.Registry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := bdev.NewRegistry()
		if _, err := bdev.CreateMalloc(r, bdev.MallocOptions{Name: "m", BlockSizeBytes: 4096, Blocks: 1024}); err != nil {
			t.Fatal(err)
		}
		test(t, r)
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }

// TestLimitsHold counts what gets through in some seconds of virtual time.
func TestLimitsHold(t *testing.T) {
	const seconds = 4
	for _, tc := range []struct {
		name                 string
		limits               bdev.Limits
		depth                int
		blocks               uint64 // of 4 KiB
		readers, writers     int
		ops                  float64 // per second, both kinds; 0 is not looked at
		bytes, reads, writes float64 // per second
	}{
		{name: "1,000 requests at depth 1", limits: bdev.Limits{IOPS: 1000}, depth: 1, blocks: 1, readers: 1, ops: 1000},
		{name: "20,000 requests", limits: bdev.Limits{IOPS: 20000}, depth: 32, blocks: 1, readers: 1, ops: 20000},
		{name: "20,000 of both kinds by four users", limits: bdev.Limits{IOPS: 20000}, depth: 8, blocks: 1, readers: 2, writers: 2, ops: 20000},
		{name: "1 MiB in small requests", limits: bdev.Limits{Bytes: mib}, depth: 8, blocks: 1, readers: 1, bytes: mib},
		{name: "1 MiB in requests larger than a quantum", limits: bdev.Limits{Bytes: mib}, depth: 2, blocks: 32, writers: 1, bytes: mib},
		{name: "100 MiB", limits: bdev.Limits{Bytes: 100 * mib}, depth: 16, blocks: 8, readers: 1, writers: 1, bytes: 100 * mib},
		{
			name: "reads and writes apart", limits: bdev.Limits{ReadBytes: 40 * mib, WriteBytes: 10 * mib},
			depth: 16, blocks: 4, readers: 1, writers: 1, reads: 40 * mib, writes: 10 * mib,
		},
		{
			name: "all at once, the tightest counts", limits: bdev.Limits{IOPS: 1000, Bytes: 40 * mib, ReadBytes: 20 * mib, WriteBytes: 2 * mib},
			depth: 16, blocks: 1, readers: 1, writers: 1, ops: 1000,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *bdev.Registry) {
				if err := r.SetLimits("m", tc.limits); err != nil {
					t.Fatal(err)
				}
				var l load
				var descs []*bdev.Desc
				user := func(op bdev.Op) {
					d, err := r.Open("m", true, bdev.Events{})
					if err != nil {
						t.Fatal(err)
					}
					descs = append(descs, d)
					l.run(d, op, tc.depth, tc.blocks)
				}
				for range tc.readers {
					user(bdev.OpRead)
				}
				for range tc.writers {
					user(bdev.OpWrite)
				}
				pass(seconds * time.Second)
				ops := l.reads.Load() + l.writes.Load()
				reads, writes := l.readBytes.Load(), l.writeBytes.Load()
				l.stop.Store(true)
				l.wg.Wait()
				for _, d := range descs {
					_ = d.Close()
				}
				for _, c := range []struct {
					what string
					got  uint64
					want float64
				}{{"requests", ops, tc.ops}, {"bytes", reads + writes, tc.bytes}, {"bytes read", reads, tc.reads}, {"bytes written", writes, tc.writes}} {
					t.Logf("%s: %d", c.what, c.got)
					if c.want > 0 && !within(c.got, c.want*seconds) {
						t.Errorf("%d %s in %d s, want %.0f", c.got, c.what, seconds, c.want*seconds)
					}
				}
			})
		})
	}
}

// TestLimitsChange: descriptors that are open notice when limits come, change and go.
func TestLimitsChange(t *testing.T) {
	inBubble(t, func(t *testing.T, r *bdev.Registry) {
		d, err := r.Open("m", true, bdev.Events{})
		if err != nil {
			t.Fatal(err)
		}
		memory, ok := d.Memory()
		if !ok || memory.Bytes(0, 1) == nil {
			t.Fatal("a malloc bdev without limits cannot be read in place")
		}
		do(t, d, bdev.OpWrite, 0, 1, make([]byte, 4096))
		set := func(limits bdev.Limits) {
			t.Helper()
			if err := r.SetLimits("m", limits); err != nil {
				t.Fatal(err)
			}
			if info, err := r.Lookup("m"); err != nil || info.Limits != limits {
				t.Errorf("limits %+v are shown as %+v (%v)", limits, info.Limits, err)
			}
		}
		set(bdev.Limits{IOPS: 2000})
		if memory.Bytes(0, 1) != nil {
			t.Error("a bdev with limits can be read in place")
		}
		brief := &bdev.Request{Op: bdev.OpRead, Count: 1, Data: make([]byte, 4096), Brief: true}
		brief.Done = func(_ *bdev.Request, err error) {
			if !errors.Is(err, bdev.ErrHeld) {
				t.Errorf("a request with brief data on a bdev with limits: %v", err)
			}
		}
		d.Submit(brief)
		var l load
		l.run(d, bdev.OpRead, 64, 1)
		count := func(what string, want float64) {
			t.Helper()
			before := l.reads.Load()
			pass(time.Second)
			if got := l.reads.Load() - before; !within(got, want) {
				t.Errorf("%d requests in a second %s, want %.0f", got, what, want)
			}
		}
		count("with a limit", 2000)
		set(bdev.Limits{IOPS: 5000})
		count("with a higher one", 5000)
		set(bdev.Limits{IOPS: 1000, Bytes: mib})
		count("with another one", mib/4096)
		l.stop.Store(true)
		set(bdev.Limits{})
		l.wg.Wait() // all at once
		if memory.Bytes(0, 1) == nil {
			t.Error("a bdev whose limits have been taken away cannot be read in place")
		}
		// They outlive their users.
		set(bdev.Limits{IOPS: 3000})
		_ = d.Close()
		if d, err = r.Open("m", true, bdev.Events{}); err != nil {
			t.Fatal(err)
		}
		l.stop.Store(false)
		l.run(d, bdev.OpRead, 8, 1)
		count("for the next user", 3000)
		l.stop.Store(true)
		l.wg.Wait()
		_ = d.Close()
	})
}

// TestLimitsIdle: nothing is saved up while nobody uses the bdev.
func TestLimitsIdle(t *testing.T) {
	inBubble(t, func(t *testing.T, r *bdev.Registry) {
		if err := r.SetLimits("m", bdev.Limits{IOPS: 1000}); err != nil {
			t.Fatal(err)
		}
		d, err := r.Open("m", true, bdev.Events{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close() //nolint:errcheck // it never fails
		pass(time.Hour)
		began := time.Now()
		for range 100 {
			do(t, d, bdev.OpRead, 0, 1, make([]byte, 4096))
		}
		if took := time.Since(began); took < 95*time.Millisecond {
			t.Errorf("100 requests after an hour without any took %v of virtual time, want about 100ms", took)
		}
	})
}

// TestLimitsKeepOrder: requests that wait go on in the order in which they came, those of a kind that
// is not held up overtake, and what is no read or write does not wait at all.
func TestLimitsKeepOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, r *bdev.Registry) {
		if err := r.SetLimits("m", bdev.Limits{WriteBytes: 4 * mib}); err != nil {
			t.Fatal(err)
		}
		d, err := r.Open("m", true, bdev.Events{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close() //nolint:errcheck // it never fails
		var mu sync.Mutex
		var order []uint64
		var wg sync.WaitGroup
		submit := func(op bdev.Op, block uint64) {
			wg.Add(1)
			r := &bdev.Request{Op: op, Block: block, Count: 1, Data: make([]byte, 4096)}
			if op == bdev.OpFlush {
				r.Data, r.Count = nil, 0
			}
			r.Done = func(r *bdev.Request, err error) {
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, r.Block)
				mu.Unlock()
				wg.Done()
			}
			d.Submit(r)
		}
		const writes = 300
		for i := range uint64(writes) {
			submit(bdev.OpWrite, i)
		}
		submit(bdev.OpRead, 1000)
		submit(bdev.OpFlush, 0)
		wg.Wait()
		first := slices.Index(order, 1000)
		if first < 1 || first > 20 || order[first+1] != 0 {
			t.Errorf("a read and a flush behind %d writes that are limited ended as numbers %d and after", writes, first)
		}
		order = slices.Delete(order, first, first+2)
		if !slices.IsSorted(order) || len(order) != writes {
			t.Errorf("writes ended in the order %v", order)
		}
	})
}

// TestLimitsDoNotHoldUpRemoval: who waits for a limit is let through when the bdev goes.
func TestLimitsDoNotHoldUpRemoval(t *testing.T) {
	inBubble(t, func(t *testing.T, r *bdev.Registry) {
		if err := r.SetLimits("m", bdev.Limits{Bytes: mib}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var d *bdev.Desc
		d, err := r.Open("m", true, bdev.Events{Removed: func() {
			go func() {
				wg.Wait()
				_ = d.Close()
			}()
		}})
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			wg.Add(1)
			d.Submit(&bdev.Request{Op: bdev.OpRead, Count: 256, Data: make([]byte, mib), Done: func(*bdev.Request, error) { wg.Done() }})
		}
		began := time.Now()
		if err := r.Unregister(context.WithoutCancel(t.Context()), "m", ""); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the removal took %v of virtual time", took)
		}
	})
}

// TestLimitsChurn changes limits all the time while requests come from several sides. All of them end.
func TestLimitsChurn(t *testing.T) {
	r := newRegistry(t)
	malloc(t, r, "m")
	var l load
	for range 4 {
		l.run(openDesc(t, r, "m"), bdev.OpRead, 4, 1)
		l.run(openDesc(t, r, "m"), bdev.OpWrite, 4, 2)
	}
	for i := uint64(0); i < 2000 || l.reads.Load() < 1000 || l.writes.Load() < 1000; i++ {
		limits := bdev.Limits{IOPS: i % 5 * 1_000_000, ReadBytes: i % 3 * 64 * mib, WriteBytes: i % 7 * 64 * mib}
		if err := r.SetLimits("m", limits); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	if err := r.SetLimits("m", bdev.Limits{IOPS: 1000}); err != nil {
		t.Fatal(err)
	}
	l.stop.Store(true)
	if err := r.SetLimits("m", bdev.Limits{}); err != nil {
		t.Fatal(err)
	}
	l.wg.Wait()
}

func TestLimitsRefused(t *testing.T) {
	r := newRegistry(t)
	malloc(t, r, "m")
	wantErrno(t, r.SetLimits("nosuch", bdev.Limits{IOPS: 1000}), errdefs.NotFound, syscall.ENODEV)
	for _, l := range []bdev.Limits{{IOPS: 1}, {Bytes: 1}, {ReadBytes: mib + 1}, {WriteBytes: mib - 1}} {
		wantErrno(t, r.SetLimits("m", l), errdefs.InvalidArgument, syscall.EINVAL)
	}
	for _, l := range []bdev.Limits{{IOPS: math.MaxUint64 / 1000 * 1000}, {Bytes: math.MaxUint64 / mib * mib}} {
		if err := r.SetLimits("m", l); err != nil {
			t.Error(err)
		}
		d := openDesc(t, r, "m")
		do(t, d, bdev.OpRead, 0, 64, make([]byte, 64*512))
	}
}

// TestLimitedConforms runs the suite through limits that hold something up all the time.
func TestLimitedConforms(t *testing.T) {
	bdevtest.Run(t, bdevtest.Config{Open: func(t *testing.T) bdev.Device {
		r := newRegistry(t)
		if _, err := bdev.CreateMalloc(r, bdev.MallocOptions{Name: "m", BlockSizeBytes: 512, Blocks: 4096}); err != nil {
			t.Fatal(err)
		}
		if err := r.SetLimits("m", bdev.Limits{IOPS: 20000, Bytes: 400 * mib}); err != nil {
			t.Fatal(err)
		}
		return openDesc(t, r, "m")
	}})
}

// BenchmarkLimited measures what the gate costs that lets all through.
func BenchmarkLimited(b *testing.B) {
	for _, limited := range []bool{false, true} {
		b.Run(fmt.Sprintf("limited=%t", limited), func(b *testing.B) {
			r := bdev.NewRegistry()
			b.Cleanup(func() { _ = r.Close(b.Context()) })
			if _, err := bdev.CreateMalloc(r, bdev.MallocOptions{Name: "m", BlockSizeBytes: 512, Blocks: 64}); err != nil {
				b.Fatal(err)
			}
			if limited {
				if err := r.SetLimits("m", bdev.Limits{IOPS: 1 << 30 / 1000 * 1000}); err != nil {
					b.Fatal(err)
				}
			}
			d := openDesc(b, r, "m")
			request := &bdev.Request{Op: bdev.OpRead, Count: 1, Data: make([]byte, 512), Done: func(*bdev.Request, error) {}}
			b.ReportAllocs()
			for b.Loop() {
				d.Submit(request)
			}
		})
	}
}
