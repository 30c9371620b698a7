// SPDX-License-Identifier: Apache-2.0

package ioload_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/bdevtest"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/ioload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func disk(t *testing.T) bdev.Device {
	t.Helper()
	d, err := bdev.NewMalloc(bdev.MallocOptions{BlockSizeBytes: 512, Blocks: 8192})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func load(t *testing.T, cfg ioload.Config) *ioload.Load {
	t.Helper()
	l, err := ioload.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func run(t *testing.T, f func(context.Context) (*ioload.Result, error)) *ioload.Result {
	t.Helper()
	res, err := f(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestGoodDiskHasNoMismatch(t *testing.T) {
	for _, sequential := range []bool{false, true} {
		l := load(t, ioload.Config{
			Device: disk(t), Depth: 16, WritePercent: 50, Verify: true, Operations: 5000, Seed: 7, Sequential: sequential,
		})
		res := run(t, l.Run)
		if res.Reads+res.Writes != 5000 || res.Reads == 0 || res.Writes == 0 || res.Errors != 0 || res.Mismatched != 0 {
			t.Errorf("%d reads, %d writes, %d errors, %v", res.Reads, res.Writes, res.Errors, res.Mismatches)
		}
		if res.Latency.Count() != 5000 || res.Latency.Percentile(50) > res.Latency.Percentile(99.9) ||
			res.Latency.Percentile(100) != res.Latency.Max() || res.IOPS() <= 0 {
			t.Errorf("latencies: %v %v %v", res.Latency.Percentile(50), res.Latency.Percentile(99.9), res.Latency.Max())
		}
		if res = run(t, l.Check); res.Mismatched != 0 || res.Reads != 1024 {
			t.Errorf("check: %+v", res.Mismatches)
		}
	}
}

// TestEveryKindOfFaultIsFound damages a disk in the ways in which disks fail.
func TestEveryKindOfFaultIsFound(t *testing.T) {
	for name, tc := range map[string]struct {
		damage func(t *testing.T, d bdev.Device, old []byte)
		fault  ioload.Fault
	}{
		"lost":      {func(t *testing.T, d bdev.Device, _ []byte) { put(t, d, 8, make([]byte, 512)) }, ioload.FaultNoStamp},
		"stale":     {func(t *testing.T, d bdev.Device, old []byte) { put(t, d, 8, old) }, ioload.FaultStale},
		"misplaced": {func(t *testing.T, d bdev.Device, _ []byte) { put(t, d, 8, get(t, d, 9)) }, ioload.FaultMisplaced},
		"torn": {func(t *testing.T, d bdev.Device, old []byte) {
			put(t, d, 8, append(get(t, d, 8)[:256:256], old[256:]...))
		}, ioload.FaultTorn},
		"foreign": {func(t *testing.T, d bdev.Device, _ []byte) {
			other := load(t, ioload.Config{Device: d, IOSizeBytes: 512, FirstBlock: 8, Blocks: 1, Operations: 1, WritePercent: 100, Verify: true, Seed: 9})
			run(t, other.Run)
		}, ioload.FaultForeign},
	} {
		t.Run(name, func(t *testing.T) {
			d := disk(t)
			l := load(t, ioload.Config{Device: d, Depth: 4, Verify: true, Operations: 1, Seed: 1})
			run(t, l.Fill)
			old := get(t, d, 8)
			run(t, l.Fill)
			tc.damage(t, d, old)
			res := run(t, l.Check)
			if res.Mismatched != 1 || res.Mismatches[0].Block != 8 || res.Mismatches[0].Fault != tc.fault {
				t.Errorf("%d mismatches: %v, want one that is %s", res.Mismatched, res.Mismatches, tc.fault)
			}
		})
	}
}

func TestAnotherProcessCanCheckAFill(t *testing.T) {
	d := disk(t)
	cfg := ioload.Config{Device: d, Depth: 4, Verify: true, Operations: 1, Seed: 3}
	run(t, load(t, cfg).Fill)
	l := load(t, cfg)
	l.Assume()
	if res := run(t, l.Check); res.Mismatched != 0 {
		t.Errorf("mismatches: %v", res.Mismatches)
	}
	put(t, d, 100, make([]byte, 512))
	if res := run(t, l.Check); res.Mismatched != 1 {
		t.Errorf("%d mismatches, want 1", res.Mismatched)
	}
}

// flaky fails every third write, half of them after it has happened.
type flaky struct {
	bdev.Device
	n int
}

var errFlaky = errors.New("flaky")

func (f *flaky) Submit(r *bdev.Request) {
	if f.n++; r.Op != bdev.OpWrite || f.n%3 != 0 {
		f.Device.Submit(r)
		return
	}
	if f.n%2 == 0 {
		r.Complete(errFlaky)
		return
	}
	done := r.Done
	r.Done = func(r *bdev.Request, _ error) {
		r.Done = done
		done(r, errFlaky)
	}
	f.Device.Submit(r)
}

func TestFailedWritesMayHaveHappened(t *testing.T) {
	l := load(t, ioload.Config{Device: &flaky{Device: disk(t)}, Depth: 8, WritePercent: 60, Verify: true, Operations: 10000, Seed: 5})
	res := run(t, l.Run)
	if res.Errors == 0 || res.Mismatched != 0 || !errors.Is(res.FirstError, errFlaky) {
		t.Errorf("%d errors (%v), mismatches %v", res.Errors, res.FirstError, res.Mismatches)
	}
	stop := load(t, ioload.Config{Device: &flaky{Device: disk(t)}, WritePercent: 100, Operations: 100, StopOnError: true})
	if res, err := stop.Run(t.Context()); !errors.Is(err, errFlaky) || res.Errors != 1 {
		t.Errorf("%v after %d errors", err, res.Errors)
	}
}

func TestRunEnds(t *testing.T) {
	l := load(t, ioload.Config{Device: disk(t), Depth: 4, Duration: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	run(t, load(t, ioload.Config{Device: disk(t), Duration: time.Millisecond}).Run)
}

func TestConfigIsChecked(t *testing.T) {
	d := disk(t)
	for name, cfg := range map[string]ioload.Config{
		"no device":       {Operations: 1},
		"odd size":        {Device: d, Operations: 1, IOSizeBytes: 700},
		"negative depth":  {Device: d, Operations: 1, Depth: -1},
		"too deep":        {Device: d, Operations: 1, Depth: 2000},
		"percent":         {Device: d, Operations: 1, WritePercent: 101},
		"behind the end":  {Device: d, Operations: 1, FirstBlock: 8192, Blocks: 8},
		"over the end":    {Device: d, Operations: 1, FirstBlock: 8190, Blocks: 8},
		"nothing to end":  {Device: d},
		"no room for one": {Device: d, Operations: 1, FirstBlock: 8191},
	} {
		if _, err := ioload.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func put(t *testing.T, d bdev.Device, block uint64, data []byte) {
	t.Helper()
	if err := bdevtest.Do(t, d, bdev.OpWrite, block, uint64(len(data)/512), data); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, d bdev.Device, block uint64) []byte {
	t.Helper()
	data := make([]byte, 512)
	if err := bdevtest.Do(t, d, bdev.OpRead, block, 1, data); err != nil {
		t.Fatal(err)
	}
	return data
}
