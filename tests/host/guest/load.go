// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/opi-bridge/opi-bridge/pkg/bdev/ioload"
)

// running is a load that is being made.
type running struct {
	disk *rawDisk
	load *ioload.Load
	ops  atomic.Uint64
	stop context.CancelFunc
	done chan *ioload.Result
}

// startLoad writes everything once and begins.
func startLoad(ctx context.Context, l Load) (*running, error) {
	disk, err := openRaw(l.Device, l.Depth, l.IOSizeBytes)
	if err != nil {
		return nil, err
	}
	r := &running{disk: disk, done: make(chan *ioload.Result, 1)}
	r.load, err = ioload.New(ioload.Config{
		Device: disk, IOSizeBytes: l.IOSizeBytes, Depth: l.Depth, Blocks: l.Bytes / uint64(disk.geometry.BlockSizeBytes),
		WritePercent: l.WritePercent, Verify: true, Seed: l.Seed, Operations: 1 << 60,
		OnProgress: func(uint64) { r.ops.Add(1) },
	})
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", l.Device, err)
	}
	filled, err := r.load.Fill(ctx)
	if err == nil {
		err = filled.FirstError
	}
	if err != nil {
		return nil, fmt.Errorf("fill %s: %w", l.Device, err)
	}
	r.begin(ctx)
	return r, nil
}

func (r *running) begin(ctx context.Context) {
	ctx, r.stop = context.WithCancel(ctx)
	go func() {
		// That the run is cut short is how it ends; what counts is in the result.
		result, _ := r.load.Run(ctx)
		r.done <- result
	}()
}

// mark ends a period and begins the next.
func (r *running) mark(ctx context.Context) *Report {
	r.stop()
	result := <-r.done
	r.begin(ctx)
	return report(result)
}

// end ends the load and reads everything once more.
func (r *running) end(ctx context.Context) (*Report, error) {
	r.stop()
	total := report(<-r.done)
	checked, err := r.load.Check(ctx)
	if err != nil {
		return nil, fmt.Errorf("read everything: %w", err)
	}
	last := report(checked)
	total.Errors += last.Errors
	total.Mismatched += last.Mismatched
	total.Mismatches = append(total.Mismatches, last.Mismatches...)
	if total.FirstError == "" {
		total.FirstError = last.FirstError
	}
	return total, r.disk.Close()
}

func report(r *ioload.Result) *Report {
	out := &Report{
		Reads: r.Reads, Writes: r.Writes, Errors: r.Errors, Mismatched: r.Mismatched,
		Longest: r.Latency.Max(), Median: r.Latency.Percentile(50), Elapsed: r.Elapsed,
	}
	if r.FirstError != nil {
		out.FirstError = r.FirstError.Error()
	}
	for _, m := range r.Mismatches {
		out.Mismatches = append(out.Mismatches, m.String())
	}
	return out
}
