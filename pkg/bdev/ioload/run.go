// SPDX-License-Identifier: Apache-2.0

package ioload

import (
	"context"
	"errors"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// worker is a request that is used again and again.
type worker struct {
	req   bdev.Request
	unit  uint64
	write bool
	began time.Time
	took  time.Duration
	err   error
}

// plan says what to do next: which unit, and whether to write. It returns false at the end.
type plan func() (unit uint64, write, more bool)

// Run makes the load until its operations are done, its duration is over or ctx ends, and waits for
// the requests in flight. The Result holds failures and mismatches; the error only says that the
// Run was cut short by ctx or, with StopOnError, by a failure.
func (l *Load) Run(ctx context.Context) (*Result, error) {
	var issued uint64
	end := time.Now().Add(l.cfg.Duration)
	return l.run(ctx, func() (uint64, bool, bool) {
		if l.cfg.Operations > 0 && issued >= l.cfg.Operations {
			return 0, false, false
		}
		if l.cfg.Duration > 0 && !time.Now().Before(end) {
			return 0, false, false
		}
		issued++
		write := l.cfg.WritePercent > 0 && l.rng.IntN(100) < l.cfg.WritePercent
		return l.draw(), write, true
	})
}

// Fill writes every unit once, in order, stamped if Verify is set.
func (l *Load) Fill(ctx context.Context) (*Result, error) { return l.sweep(ctx, true) }

// Check reads every unit once, in order, and verifies what is known about it if Verify is set.
func (l *Load) Check(ctx context.Context) (*Result, error) { return l.sweep(ctx, false) }

func (l *Load) sweep(ctx context.Context, write bool) (*Result, error) {
	if write {
		l.generation = 0 // all get the first generation after it, which Assume counts on
		for i := range l.units {
			l.generation = max(l.generation, l.units[i].high)
		}
	}
	var next uint64
	first := l.generation
	return l.run(ctx, func() (uint64, bool, bool) {
		if next == uint64(len(l.units)) {
			return 0, false, false
		}
		if write {
			l.generation = first // each write adds one
		}
		next++
		return next - 1, write, true
	})
}

// draw chooses a unit that is at rest.
func (l *Load) draw() uint64 {
	n := uint64(len(l.units))
	u := l.next
	if !l.cfg.Sequential {
		u = l.rng.Uint64N(n)
	}
	for l.units[u].busy {
		u = (u + 1) % n
	}
	if l.cfg.Sequential {
		l.next = (u + 1) % n
	}
	return u
}

// run keeps Depth requests in flight as planned.
func (l *Load) run(ctx context.Context, next plan) (*Result, error) {
	res := &Result{}
	done := make(chan *worker, l.cfg.Depth)
	ended := func(r *bdev.Request, err error) {
		w := r.Context.(*worker) //nolint:errcheck // put there below, so it cannot fail
		w.err, w.took = err, time.Since(w.began)
		done <- w
	}
	start := time.Now()
	flying := 0
	var cut error
	for range l.cfg.Depth {
		u, write, more := next()
		if !more {
			break
		}
		w := &worker{}
		w.req = bdev.Request{Data: make([]byte, l.cfg.IOSizeBytes), Done: ended, Context: w}
		flying++
		l.submit(w, u, write)
	}
	var count uint64
	for flying > 0 {
		w := <-done
		l.account(res, w)
		count++
		if l.cfg.OnProgress != nil {
			l.cfg.OnProgress(count)
		}
		if cut == nil {
			if ctx.Err() != nil {
				cut = context.Cause(ctx)
			} else if l.cfg.StopOnError && res.FirstError != nil {
				cut = errors.Join(errors.New("a request failed"), res.FirstError)
			}
		}
		if cut == nil {
			if u, write, more := next(); more {
				l.submit(w, u, write)
				continue
			}
		}
		flying--
	}
	res.Elapsed = time.Since(start)
	return res, cut
}

// submit starts a request for a unit that is at rest.
func (l *Load) submit(w *worker, u uint64, write bool) {
	w.unit, w.write = u, write
	l.units[u].busy = true
	w.req.Block, w.req.Count = l.cfg.FirstBlock+u*l.perUnit, l.perUnit
	w.req.Op = bdev.OpRead
	if write {
		w.req.Op = bdev.OpWrite
		l.generation++
		if l.cfg.Verify {
			for i := range l.perUnit {
				stamp(w.req.Data[i*l.block:(i+1)*l.block], l.cfg.Seed, w.req.Block+i, l.generation)
			}
			l.units[u].high = l.generation
		}
	}
	w.began = time.Now()
	l.cfg.Device.Submit(&w.req)
}

// account takes the outcome of a request.
func (l *Load) account(res *Result, w *worker) {
	u := &l.units[w.unit]
	u.busy = false
	if w.err != nil {
		res.Errors++
		if res.FirstError == nil {
			res.FirstError = w.err
		}
		return
	}
	res.Latency.add(w.took)
	res.Bytes += uint64(len(w.req.Data))
	if w.write {
		res.Writes++
		u.low = u.high
		return
	}
	res.Reads++
	if l.cfg.Verify && u.low > 0 {
		l.verify(res, w, u)
	}
}

// verify looks at the blocks that were read.
func (l *Load) verify(res *Result, w *worker, u *unit) {
	for i := range l.perUnit {
		block := w.req.Block + i
		fault, got := inspect(w.req.Data[i*l.block:(i+1)*l.block], l.cfg.Seed, block, u.low, u.high)
		if fault == "" {
			continue
		}
		res.Mismatched++
		if len(res.Mismatches) < mismatchesKept {
			res.Mismatches = append(res.Mismatches, Mismatch{Block: block, Fault: fault, Want: u.low, Got: got})
		}
	}
}
