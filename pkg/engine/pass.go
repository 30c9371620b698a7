// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// job is what a pass has to do for one resource. The name's lock is held until unlock.
type job struct {
	en      *entry
	tried   bool // the last try has failed
	changes []change
	shut    []change // entrances among its changes that are not to be opened yet
	waits   error    // why not
	err     error    // why nothing can be done now
	unlock  func()
}

// pass looks at the data plane and makes it what the records say: the replay after a restart, the
// repair of drift and the retry of what failed are all this.
func (e *Engine) pass(ctx context.Context) error {
	epoch := e.cfg.Driver.Status().Epoch
	if err := e.observe(ctx); err != nil {
		return err
	}
	fast, slow, stuck := e.collect()
	e.noteDrift(epoch, slices.Concat(fast, slow, stuck))
	var unshaped []job
	for _, s := range stuck {
		if errors.Is(s.err, errRebuild{}) {
			unshaped = append(unshaped, s)
			continue
		}
		if unsuited := (errUnsuited{}); errors.As(s.err, &unsuited) {
			e.refresh(ctx, unsuited)
		}
		e.postpone(s.en, s.err)
		s.unlock()
	}
	shut := slices.ContainsFunc(fast, func(j job) bool { return j.waits != nil })
	if done := e.runBatch(ctx, fast); done && (len(stuck) > 0 || shut) {
		e.poke() // what it brought may be what others wait for
	}
	for _, j := range unshaped {
		e.reshape(ctx, j)
	}
	for _, j := range slow {
		e.underWay(j.en)
		e.slow.Go(func() {
			e.runBatch(ctx, []job{j})
			e.poke() // the same
		})
	}
	e.settle(epoch)
	e.findForeign()
	return nil
}

// underWay notes that a resource is not as wanted yet, for the pass goes on without it.
func (e *Engine) underWay(en *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	en.dirty = true
	if later := e.cfg.Now().Add(lastRetry); en.retryAt.Before(later) {
		en.retryAt = later // whatever comes of it sets another time
	}
	if e.index.entries[en.rec.Name] == en {
		e.index.mark(en)
	}
}

// collect finds every resource for which something is to be done now. Those whose steps wait for a
// peer outside the data plane are slow; those for which nothing can be done at the moment are stuck,
// entrances among them that are not to be opened yet.
func (e *Engine) collect() (fast, slow, stuck []job) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	now := e.cfg.Now()
	coming := coming{}
	// What one resource makes, another may need: those that wait are asked again as long as there is
	// something new to wait for.
	pending, before := e.unsettled(now), -1
	for len(coming) != before {
		before = len(coming)
		var waiting []job
		for _, j := range pending {
			if j.changes, j.err = e.due(j.en, coming); j.err == nil {
				if j.changes, j.shut, j.waits = e.barred(j.changes, coming, now); len(j.changes) == 0 {
					j.changes, j.err = j.shut, j.waits
				}
			}
			switch {
			case errors.Is(j.err, errWaiting):
				waiting = append(waiting, j)
			case j.err != nil:
				stuck = append(stuck, j)
			case isSlow(j.changes):
				slow = append(slow, j)
			default:
				for _, c := range j.changes {
					if c.want != nil {
						coming[c.want.Key()] = !j.tried
					}
				}
				fast = append(fast, j)
			}
		}
		pending = waiting
	}
	e.unbar(fast, coming, now)
	return fast, slow, append(stuck, pending...)
}

// unsettled lists the resources that are not as wanted and may be looked at now, by name, each with
// its name locked. Hold mu for reading.
func (e *Engine) unsettled(now time.Time) []job {
	var jobs []job
	for _, en := range e.index.entries {
		if en.limbo {
			continue
		}
		changes, err := e.due(en, nil)
		settled := len(changes) == 0 && err == nil && en.rec.State == resource.StateReady
		if settled && !en.dirty {
			continue
		}
		// What a data plane has refused says nothing about the one that has come after it.
		rests := now.Before(en.retryAt) && e.settledEpoch == e.world.epoch
		if rests && !settled && !errors.Is(en.problem, errWaiting) {
			continue
		}
		// A mutation that has the name takes care of it; but if the data plane has been restarted, the
		// mutation may have changed the one that is no more.
		if unlock := e.locks.TryLock(en.rec.Name, e.settledEpoch != e.world.epoch); unlock != nil {
			jobs = append(jobs, job{en: en, tried: en.attempts > 0, unlock: unlock})
		}
	}
	slices.SortFunc(jobs, func(a, b job) int { return cmp.Compare(a.en.rec.Name, b.en.rec.Name) })
	return jobs
}

// coming tells what a pass is about to make: true for what it makes for the first time, false for what
// it tries again after a failure, on which others may build but hosts are not to count.
type coming map[driver.Key]bool

func (c coming) has(key driver.Key) bool {
	_, ok := c[key]
	return ok
}

// due returns what is to be changed for an entry when everything in coming is about to be there.
func (e *Engine) due(en *entry, coming coming) ([]change, error) {
	there := func(key driver.Key) driver.Object { return e.world.objects[key] }
	changes, err := diff(en.rec, en.objects, en.obsolete, there)
	if err == nil {
		err = e.suited(en, coming)
	}
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if c.want == nil {
			continue
		}
		if c.remedy == rebuild {
			if _, err := e.standing(c.want.Key()); err != nil {
				return nil, err
			}
			return nil, errRebuild{en.rec.Name}
		}
		for _, need := range c.want.Needs() {
			if there(need) == nil && !coming.has(need) && !wants(changes, need) {
				return nil, e.awaited(need)
			}
			if err := e.usurped(need); err != nil {
				return nil, err
			}
			switch err := e.unshaped(need); {
			case errors.Is(err, errRebuild{}):
				return nil, e.awaited(need)
			case err != nil:
				return nil, err
			}
		}
	}
	return changes, nil
}

// usurped says what is wrong when there is something under a key of ours that is not ours: what needs
// ours must not be built on it. Hold mu for reading.
func (e *Engine) usurped(key driver.Key) error {
	have := e.world.objects[key]
	en := e.index.entries[e.index.owners[key]]
	if have == nil || en == nil {
		return nil
	}
	for _, want := range en.objects {
		if want.Key() == key && !ours(want, have) {
			return errdefs.Wrap(errdefs.FailedPrecondition, conflict(want, want.Differences(have)), "%s cannot be used", en.rec.Name)
		}
	}
	return nil
}

func wants(changes []change, key driver.Key) bool {
	return slices.ContainsFunc(changes, func(c change) bool { return c.want != nil && c.want.Key() == key })
}

func isSlow(changes []change) bool {
	return slices.ContainsFunc(changes, func(c change) bool {
		_, remote := c.want.(driver.Remote)
		return remote
	})
}

// runBatch carries out the jobs as one batch of steps, draws the conclusions, and says whether
// something was done.
func (e *Engine) runBatch(ctx context.Context, jobs []job) (done bool) {
	changes := make([][]change, len(jobs))
	tried := make([]bool, len(jobs))
	for i, j := range jobs {
		changes[i], tried[i] = j.changes, j.tried
	}
	p := plan(changes, tried, true)
	e.mu.RLock()
	epoch := e.world.epoch
	e.mu.RUnlock()
	errs := e.apply(ctx, p.steps)
	replaced := e.cfg.Driver.Status().Epoch != epoch
	steps := make([][]driver.Step, len(jobs))
	results := make([][]error, len(jobs))
	for i, owner := range p.owner {
		if errors.Is(errs[i], driver.ErrSkipped) {
			if cause := p.cause(i, errs); p.owner[cause] != owner {
				errs[i] = errdefs.Wrap(errdefs.Unavailable, fmt.Errorf("%w: %w", driver.ErrSkipped, errs[cause]),
					"waits for %s", jobs[p.owner[cause]].en.rec.Name)
			}
		}
		steps[owner] = append(steps[owner], p.steps[i])
		results[owner] = append(results[owner], errs[i])
	}
	for i, j := range jobs {
		o := judge(steps[i], results[i], true)
		o.unknown = o.unknown || o.err != nil && replaced
		done = done || len(o.done) > 0
		e.countRepair(j, o)
		if o.err == nil && j.waits != nil {
			e.postpone(j.en, j.waits) // the rest is done, and the entrance is still shut
		} else if again(j.en.rec.State, o) {
			e.postpone(j.en, o.err)
		} else if err := e.conclude(ctx, j.en, o); err != nil {
			e.cfg.Log.Warn("resource is not as wanted", "resource", j.en.rec.Name, "err", err)
		}
		j.unlock()
	}
	return done
}

// again says whether an intent that was cut short is to be tried again rather than given up: when
// nothing has been said about the thing itself. A target that cannot be reached has said something.
func again(state resource.State, o outcome) bool {
	if state != resource.StateCreating && state != resource.StateUpdating || o.err == nil || o.unknown {
		return false
	}
	if errors.Is(o.err, driver.ErrSkipped) {
		return true
	}
	reason, _ := errdefs.Info(o.err)
	return errdefs.ClassOf(o.err) == errdefs.Unavailable && reason != driver.ReasonTargetUnreachable
}

func (c change) key() driver.Key {
	if c.want != nil {
		return c.want.Key()
	}
	return c.have.Key()
}

// settle says that everything has been put back in this epoch, and lets mutations in.
func (e *Engine) settle(epoch uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.settledEpoch == epoch {
		return
	}
	e.settledEpoch = epoch
	close(e.settling)
	e.settling = make(chan struct{})
	e.cfg.Log.Info("data plane is as wanted", "epoch", epoch, "resources", len(e.index.entries), "not_ready", len(e.index.dirty))
}
