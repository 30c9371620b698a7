// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"slices"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// workers is how many of the steps that hang together with devices are carried out at a time.
const workers = 128

// Apply implements [driver.Driver]. What hangs together with a device is carried out step by step; the
// rest goes to the data plane as the batch that it is.
func (d *Driver) Apply(ctx context.Context, steps []driver.Step) []error {
	involved := involvedSteps(steps)
	if !slices.Contains(involved, true) {
		return d.cfg.Inner.Apply(ctx, steps)
	}
	errs := make([]error, len(steps))
	var work sync.WaitGroup
	work.Go(func() { d.applyRest(ctx, steps, involved, errs) })
	done := make([]chan struct{}, len(steps))
	for i := range steps {
		done[i] = make(chan struct{})
	}
	slots := make(chan struct{}, workers)
	for i := range steps {
		if !involved[i] {
			continue
		}
		work.Go(func() {
			defer close(done[i])
			for _, before := range steps[i].After {
				if before < 0 || before >= i {
					errs[i] = errdefs.New(errdefs.Internal, "step %d names in After what is no earlier step: %v", i, steps[i].After)
					return
				}
			}
			for _, before := range steps[i].After {
				<-done[before]
				if errs[before] != nil {
					errs[i] = driver.ErrSkipped
				}
			}
			if errs[i] == nil {
				slots <- struct{}{}
				errs[i] = d.apply(ctx, &steps[i])
				<-slots
			}
		})
	}
	work.Wait()
	return errs
}

// applyRest carries out the steps that are not involved. None of them waits for one that is.
func (d *Driver) applyRest(ctx context.Context, steps []driver.Step, involved []bool, errs []error) {
	var (
		rest []driver.Step
		from []int // where each stood
		to   = make([]int, len(steps))
	)
	for i, step := range steps {
		if involved[i] {
			continue
		}
		to[i] = len(rest)
		step.After = slices.Clone(step.After)
		for j, before := range step.After {
			step.After[j] = to[before]
		}
		rest, from = append(rest, step), append(from, i)
	}
	for j, err := range d.cfg.Inner.Apply(ctx, rest) {
		errs[from[j]] = err
	}
}

// involvedSteps tells of each step whether it hangs together, over however many others, with one on a
// device. Steps that name what is no earlier step are among them, if there is any.
func involvedSteps(steps []driver.Step) []bool {
	involved := make([]bool, len(steps))
	neighbours := make([][]int, len(steps))
	var todo []int
	mark := func(i int) {
		if !involved[i] {
			involved[i] = true
			todo = append(todo, i)
		}
	}
	var broken []int
	for i, step := range steps {
		for _, before := range step.After {
			if before < 0 || before >= i {
				broken = append(broken, i)
				continue
			}
			neighbours[i] = append(neighbours[i], before)
			neighbours[before] = append(neighbours[before], i)
		}
		if isDevice(step.Object) {
			mark(i)
		}
	}
	if len(todo) > 0 {
		for _, i := range broken {
			mark(i)
		}
	}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, j := range neighbours[i] {
			mark(j)
		}
	}
	return involved
}

// isDevice says whether an object is seen by the host on PCI.
func isDevice(o driver.Object) bool {
	switch o := o.(type) {
	case *driver.VirtioBlk:
		return true
	case *driver.Listener:
		return o.PCI != nil
	}
	return false
}

// apply carries out one step.
func (d *Driver) apply(ctx context.Context, step *driver.Step) error {
	switch o := step.Object.(type) {
	case *driver.VirtioBlk:
		switch step.Op {
		case driver.Create:
			return d.createBlk(ctx, step, o)
		case driver.Update:
			return d.updateBlk(ctx, step, o)
		case driver.Delete:
			return d.deleteBlk(ctx, o)
		}
	case *driver.Listener:
		switch {
		case o.PCI == nil:
		case step.Op == driver.Create:
			return d.createNvme(ctx, step, o)
		case step.Op == driver.Update:
			return d.updateNvme(ctx, o)
		case step.Op == driver.Delete:
			return d.deleteNvme(ctx, o)
		}
	}
	return d.inner(ctx, *step)
}
