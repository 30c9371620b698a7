// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"slices"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Condition is how one resource stands.
type Condition struct {
	// Name is the resource's name.
	Name resource.Name
	// State is how far the last change has come; empty for a record that cannot be read.
	State resource.State
	// Err says why the data plane does not hold the resource as it should; nil when it does.
	Err error
	// Since is when that was first found; zero when Err is nil or it is not known.
	Since time.Time
	// Attempts counts the tries in a row that failed; RetryAt is when the next one is, zero for none.
	Attempts int
	RetryAt  time.Time
	// Created and Updated are when the resource was first asked for and last changed.
	Created, Updated time.Time
	// Repairs tells what was changed behind the engine's back and repaired.
	Repairs Repairs
	// Foreign names what others have put into the resource's objects, or onto them: "listener
	// nqn.2024-01.io.example:a TCP IPv4 127.0.0.1 4421". It is left alone. At most 100 are named.
	Foreign []string
	// Decided is what was decided about the resource for ever, beyond its message: the facts of its
	// record. It is not to be changed.
	Decided map[string]string
}

// Condition returns how a resource stands, from memory. Derived resources have no condition of their
// own.
func (e *Engine) Condition(name resource.Name) (Condition, error) {
	status := e.cfg.Driver.Status()
	e.mu.RLock()
	defer e.mu.RUnlock()
	if !e.loaded {
		return Condition{}, notLoaded(e.storeErr)
	}
	c, ok := e.condition(name, status)
	if !ok {
		return Condition{}, errdefs.New(errdefs.NotFound, "%s does not exist", name)
	}
	return c, nil
}

// Conditions returns how up to limit resources stand, in the order of their names, from the first
// whose name is greater than after, and whether there are more behind them. With notReady, those that
// are as they should be are left out. From memory.
func (e *Engine) Conditions(after resource.Name, limit int, notReady bool) (conditions []Condition, more bool, err error) {
	status := e.cfg.Driver.Status()
	names, err := e.namesAfter(after)
	if err != nil {
		return nil, false, err
	}
	slices.Sort(names)
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, name := range names {
		c, ok := e.condition(name, status)
		if !ok || notReady && c.Err == nil {
			continue
		}
		if len(conditions) == limit {
			return conditions, true, nil
		}
		conditions = append(conditions, c)
	}
	return conditions, false, nil
}

// namesAfter lists the names of all resources behind a name, in no order.
func (e *Engine) namesAfter(after resource.Name) ([]resource.Name, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if !e.loaded {
		return nil, notLoaded(e.storeErr)
	}
	var names []resource.Name
	for name := range e.index.entries {
		if name > after {
			names = append(names, name)
		}
	}
	for name := range e.index.unreadable {
		if name > after {
			names = append(names, name)
		}
	}
	return names, nil
}

// condition returns how a resource stands when the data plane does as status says. Hold mu for reading.
func (e *Engine) condition(name resource.Name, status driver.Status) (c Condition, ok bool) {
	if err := e.index.unreadable[name]; err != nil {
		return Condition{Name: name, Err: err}, true
	}
	en := e.index.entries[name]
	if en == nil {
		return Condition{}, false
	}
	c = Condition{
		Name: name, State: en.rec.State, Created: en.rec.Created, Updated: en.rec.Updated, Err: en.problem,
		Repairs: e.repairs[name], Foreign: e.foreign.within[name], Decided: en.rec.Facts,
	}
	if c.Err != nil {
		c.Since, c.Attempts = en.since, en.attempts
		if !errors.Is(c.Err, errWaiting) {
			c.RetryAt = en.retryAt
		}
		return c, true
	}
	switch {
	case en.limbo:
		c.Err = errdefs.New(errdefs.OutcomeUnknown, "the store has not confirmed the last change yet")
	case !status.Up:
		c.Err = errdefs.Wrap(errdefs.Unavailable, orUnknown(status.Err), "the data plane is not reachable")
	case e.settledEpoch != status.Epoch:
		c.Err = errdefs.New(errdefs.Unavailable, "what the data plane held is being put back")
	case en.rec.State != resource.StateReady || en.dirty:
		c.Err = errdefs.New(errdefs.Unavailable, "a change is under way")
	}
	return c, true
}
