// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// apply carries out steps and keeps the world up to date with them. Where a step brings something
// that nobody asked for by name (the bdevs of a path), or has filled in what was left open, that is
// looked at before apply returns.
func (e *Engine) apply(ctx context.Context, steps []driver.Step) []error {
	if len(steps) == 0 {
		return nil
	}
	e.mu.Lock()
	for _, s := range steps {
		e.world.begin(s.Object.Key())
	}
	e.mu.Unlock()

	epoch := e.cfg.Driver.Status().Epoch
	errs := e.cfg.Driver.Apply(ctx, steps)
	if e.cfg.Driver.Status().Epoch != epoch {
		e.poke() // what was done may have been done to a process that is no more
	}

	var open []driver.Object
	e.mu.Lock()
	for i, s := range steps {
		done := errs[i] == nil
		if s.Op == driver.Delete {
			e.world.end(s.Object.Key(), nil, done)
		} else {
			e.world.end(s.Object.Key(), s.Object, done)
		}
		if done && leavesOpen(s) {
			open = append(open, s.Object)
		}
	}
	e.mu.Unlock()
	if len(open) > 0 {
		// What happened is known already, so a failure to look is no failure of the steps.
		if err := e.look(ctx, open); err != nil {
			e.cfg.Log.Debug("cannot look at the data plane after a change", "err", err)
		}
	}
	return errs
}

// leavesOpen says whether the data plane knows more after the step than was asked for.
func leavesOpen(s driver.Step) bool {
	switch o := s.Object.(type) {
	case driver.Remote:
		return true
	case *driver.Bdev:
		return s.Op != driver.Delete && (o.Blocks == 0 || o.BlockSizeBytes == 0)
	}
	return false
}

// outcome is what became of the steps of one resource.
type outcome struct {
	// err is nil when all is done: else the first failure that says something (not "skipped").
	err error
	// unknown says that some step may or may not have happened.
	unknown bool
	// done are the steps that succeeded, in their order.
	done []driver.Step
	// continued says that an earlier attempt may have done more than done tells.
	continued bool
}

func judge(steps []driver.Step, errs []error, continued bool) outcome {
	o := outcome{continued: continued}
	for i, err := range errs {
		switch {
		case err == nil:
			o.done = append(o.done, steps[i])
			continue
		case errors.Is(err, driver.ErrSkipped):
			if o.err == nil {
				o.err = err
			}
			continue
		}
		o.unknown = o.unknown || errors.Is(err, errdefs.OutcomeUnknown)
		if o.err == nil || errors.Is(o.err, driver.ErrSkipped) {
			o.err = err
		}
	}
	return o
}

// cleanupTime bounds what is done after the caller may have gone: an undo, the write of an outcome.
const cleanupTime = 15 * time.Second

// detach returns a context for what must be done though the caller may be gone.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
}

// undo takes back the steps that were done, last first. It returns nil when everything is as before.
func (e *Engine) undo(ctx context.Context, done []driver.Step) error {
	ctx, cancel := detach(ctx)
	defer cancel()
	var reverse []driver.Step
	for _, s := range slices.Backward(done) {
		back := driver.Step{Op: driver.Create, Object: s.Object}
		switch s.Op {
		case driver.Create:
			back.Op = driver.Delete
		case driver.Update:
			back = driver.Step{Op: driver.Update, Object: s.From, From: s.Object}
		case driver.Delete:
		}
		if n := len(reverse); n > 0 {
			back.After = []int{n - 1}
		}
		reverse = append(reverse, back)
	}
	return judge(reverse, e.apply(ctx, reverse), false).err
}
