// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// fault is what goes wrong with one call.
type fault string

const (
	refused  fault = "refused"           // the part says no, and has done nothing
	away     fault = "away"              // the part cannot be reached, and has done nothing
	lostDone fault = "answer lost, done" // it happened, but nobody said so
	lostNot  fault = "answer lost, not done"
)

// faults fails one call: the n-th from when it is armed. It wraps the real parts, so that everything
// but that one call is as always.
type faults struct {
	mu sync.Mutex
	// guarded by mu:
	kind   fault
	left   int // calls until the fault; negative when disarmed
	fired  bool
	loaded func() // runs once after the next Load
	silent bool   // the store cannot be read
	looks  func() // runs before each look at the data plane; nil for nothing
	// applying runs once before the next Apply of steps, committing before the next Commit.
	applying, committing func()
	// deaf: no step reaches the data plane, and it is not known that none does.
	deaf bool
}

func (f *faults) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("%s after %d more calls (fired: %v)", f.kind, f.left, f.fired)
}

// arm makes the call after n others fail.
func (f *faults) arm(kind fault, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kind, f.left, f.fired = kind, n, false
}

// disarm lets everything through and says whether the fault had fired.
func (f *faults) disarm() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = -1
	return f.fired
}

// next says whether this call fails, and how.
func (f *faults) next() fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
	if f.left != -1 {
		return ""
	}
	f.fired = true
	return f.kind
}

func (f fault) error() error {
	switch f {
	case refused:
		return errdefs.New(errdefs.Internal, "injected: refused")
	case away:
		return errdefs.New(errdefs.Unavailable, "injected: away")
	case lostDone, lostNot:
		return errdefs.New(errdefs.OutcomeUnknown, "injected: answer lost")
	}
	return nil
}

// faultyDriver fails steps.
type faultyDriver struct {
	driver.Driver
	faults *faults
}

func (d faultyDriver) Apply(ctx context.Context, steps []driver.Step) []error {
	d.faults.aboutToApply(steps)
	errs := make([]error, len(steps))
	d.faults.mu.Lock()
	deaf := d.faults.deaf
	d.faults.mu.Unlock()
	for i, s := range steps {
		if deaf {
			errs[i] = lostNot.error()
			continue
		}
		for _, before := range s.After {
			if errs[before] != nil {
				errs[i] = driver.ErrSkipped
			}
		}
		if errs[i] != nil {
			continue
		}
		f := d.faults.next()
		if f == "" || f == lostDone {
			s.After = nil // the steps before have succeeded
			errs[i] = d.Driver.Apply(ctx, []driver.Step{s})[0]
		}
		if f != "" {
			errs[i] = f.error()
		}
	}
	return errs
}

// Observe implements [driver.Driver].
func (d faultyDriver) Observe(ctx context.Context) (*driver.Observation, error) {
	d.faults.mu.Lock()
	before := d.faults.looks
	d.faults.mu.Unlock()
	if before != nil {
		before()
	}
	return d.Driver.Observe(ctx)
}

// set changes the faults that last.
func (f *faults) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// faultyStore fails commits.
type faultyStore struct {
	store.Store
	faults *faults
}

func (s faultyStore) Commit(ctx context.Context, writes []store.Write) ([]uint64, error) {
	s.faults.mu.Lock()
	before := s.faults.committing
	s.faults.committing = nil
	s.faults.mu.Unlock()
	if before != nil {
		before()
	}
	f := s.faults.next()
	if f == "" || f == lostDone {
		revisions, err := s.Store.Commit(ctx, writes)
		if f == "" {
			return revisions, err
		}
	}
	return nil, f.error()
}
