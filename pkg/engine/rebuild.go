// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// To rebuild an object is to remove it with all that stands on it, and to make all of it again. That
// is no business of its owner alone, so it is done with the owner and all who need the object locked,
// and those that come meanwhile are told to come again. It is done while no entrance leads to the
// object, so that no host sees it. Whatever cuts it short, a pass goes on from what is there.

// errRebuild says that an object of the owner is to be rebuilt. As a target of errors.Is an empty one
// stands for all.
type errRebuild struct{ owner resource.Name }

func (r errRebuild) Error() string { return string(r.owner) + " is to be made anew: try again" }

// Is implements the test of package errors.
func (r errRebuild) Is(target error) bool {
	t, ok := target.(errRebuild)
	return ok && (t.owner == "" || t == r)
}

// Unwrap returns the class: what cannot wait for it has to come again.
func (r errRebuild) Unwrap() error { return errdefs.Unavailable }

// standing returns what stands on the object under key, by its owners' wishes and in the order of the
// keys. It fails when the object must stay as it is: an entrance leads to it, or something stands on it
// that is not ours. Hold mu for reading.
func (e *Engine) standing(key driver.Key) ([]driver.Object, error) {
	var found []driver.Object
	for _, o := range e.world.objects {
		if !needs(o, key) {
			continue
		}
		want := e.wanted(o.Key())
		entrance, ok := o.(driver.Entrance)
		switch {
		case ok && entrance.LeadsTo() == key:
			return nil, errdefs.New(errdefs.FailedPrecondition,
				"%s is not as it should be, and cannot be made anew while hosts can reach it through %s: delete that first", describe(key), describe(o.Key()))
		case want == nil && e.index.owners[o.Key()] != "":
			return nil, errdefs.Wrap(errdefs.Unavailable, errWaiting, "%s is on its way out", describe(o.Key()))
		case want == nil || !ours(want, o):
			return nil, errdefs.New(errdefs.FailedPrecondition,
				"%s is not as it should be, and cannot be made anew with %s in it, which the bridge did not make: remove that", describe(key), describe(o.Key()))
		}
		found = append(found, want)
	}
	slices.SortFunc(found, func(a, b driver.Object) int { return cmp.Compare(a.Key().String(), b.Key().String()) })
	return found, nil
}

// unshaped says what is wrong when there is something of ours under a key that is to be rebuilt: nothing
// new must be put onto it. Hold mu for reading.
func (e *Engine) unshaped(key driver.Key) error {
	want, have := e.wanted(key), e.world.objects[key]
	if want == nil || have == nil {
		return nil
	}
	if differences := want.Differences(have); len(differences) == 0 || want.Remedy(differences) != driver.RemedyRebuild {
		return nil
	}
	if _, err := e.standing(key); err != nil {
		return err
	}
	return errRebuild{e.index.owners[key]}
}

// claimRebuild notes that an owner's objects are about to be rebuilt, and returns who must be locked
// besides it and except. It returns ok false when somebody else is about it. Hold mu.
func (e *Engine) claimRebuild(owner, except resource.Name) (others []resource.Name, ok bool) {
	en := e.index.entries[owner]
	if _, busy := e.rebuilding[owner]; busy || en == nil {
		return nil, false
	}
	e.rebuilding[owner] = struct{}{}
	names := map[resource.Name]struct{}{}
	for _, o := range en.objects {
		maps.Copy(names, e.index.needers[o.Key()])
	}
	delete(names, owner)
	delete(names, except)
	return slices.Sorted(maps.Keys(names)), true
}

func (e *Engine) releaseRebuild(owner resource.Name) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.rebuilding, owner)
}

// doubtfulGround returns the object that a new resource is to stand on and that must be rebuilt before, nil
// if there is none; or the name of its owner while somebody else is about that. Hold mu for reading.
func (e *Engine) doubtfulGround(en *entry) (object driver.Object, busy resource.Name) {
	if en.rec.State != resource.StateCreating {
		return nil, ""
	}
	for _, o := range en.objects {
		for _, need := range o.Needs() {
			owner := e.index.owners[need]
			if _, busy := e.rebuilding[owner]; busy {
				return nil, owner
			}
			if owner != en.rec.Name && e.unshaped(need) != nil {
				return e.wanted(need), ""
			}
		}
	}
	return nil, ""
}

// lookOnto looks at an object and at what stands on it: what others have put there, or taken away, since
// it was last seen.
func (e *Engine) lookOnto(ctx context.Context, object driver.Object) error {
	seen := []driver.Object{object}
	e.mu.RLock()
	for _, o := range e.world.objects {
		if needs(o, object.Key()) {
			seen = append(seen, o)
		}
	}
	e.mu.RUnlock()
	return e.look(ctx, seen)
}

// prepareGround rebuilds what a new resource is to stand on, if need be. Hold the resource's lock.
func (e *Engine) prepareGround(ctx context.Context, en *entry) error {
	e.mu.RLock()
	doubtful, busy := e.doubtfulGround(en)
	e.mu.RUnlock()
	switch {
	case busy != "":
		return errRebuild{busy}
	case doubtful == nil:
		return nil
	}
	if err := e.lookOnto(ctx, doubtful); err != nil {
		return err
	}
	e.mu.Lock()
	var ground errRebuild
	if !errors.As(e.unshaped(doubtful.Key()), &ground) {
		e.mu.Unlock()
		return nil // it is as it should be, or cannot be, which is found out next
	}
	others, ok := e.claimRebuild(ground.owner, en.rec.Name)
	e.mu.Unlock()
	if !ok {
		return ground
	}
	defer e.releaseRebuild(ground.owner)
	var locked []func()
	unlock := func() {
		for _, free := range locked {
			free()
		}
	}
	// None of those waited for waits for this resource: who meets a rebuild gives way.
	for _, name := range append([]resource.Name{ground.owner}, others...) {
		free, err := e.locks.Lock(ctx, name)
		if err != nil {
			unlock()
			return err
		}
		locked = append(locked, free)
	}
	e.mu.RLock()
	parent := e.index.entries[ground.owner]
	e.mu.RUnlock()
	if parent == nil {
		unlock()
		return ground
	}
	ctx, cancel := detach(ctx)
	defer cancel()
	return e.rebuild(ctx, job{en: parent, unlock: unlock})
}

// reshape is the rebuild that a pass does, for a job that has the owner's lock.
func (e *Engine) reshape(ctx context.Context, j job) {
	owner := j.en.rec.Name
	e.mu.Lock()
	others, ok := e.claimRebuild(owner, "")
	e.mu.Unlock()
	if !ok {
		j.unlock()
		return
	}
	defer e.releaseRebuild(owner)
	unlock := j.unlock
	for _, name := range others {
		free := e.locks.TryLock(name, true)
		if free == nil {
			unlock()
			return
		}
		before := unlock
		unlock = func() { free(); before() }
	}
	j.unlock = unlock // a pass has just looked at everything
	if err := e.rebuild(ctx, j); err != nil {
		e.cfg.Log.Warn("resource cannot be made anew", "resource", owner, "err", err)
	}
}

// rebuild carries out a job that is to rebuild objects, with everybody locked who must be, and unlocks.
func (e *Engine) rebuild(ctx context.Context, j job) error {
	e.mu.RLock()
	j.changes, j.err = diff(j.en.rec, j.en.objects, j.en.obsolete, func(key driver.Key) driver.Object { return e.world.objects[key] })
	for _, c := range slices.Clone(j.changes) {
		if c.remedy != rebuild || j.err != nil {
			continue
		}
		var above []driver.Object
		above, j.err = e.standing(c.want.Key())
		for _, o := range above {
			j.changes = slices.DeleteFunc(j.changes, func(c change) bool { return c.key() == o.Key() })
			j.changes = append(j.changes, change{remedy: rebuild, want: o, have: o})
		}
	}
	e.mu.RUnlock()
	if j.err != nil {
		j.unlock()
		return j.err
	}
	e.cfg.Log.Info("making anew, with all that stands on it", "resource", j.en.rec.Name, "objects", len(j.changes))
	e.runBatch(ctx, []job{j})
	e.poke() // others may wait for it
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, o := range j.en.objects {
		if err := e.unshaped(o.Key()); err != nil {
			return err
		}
	}
	return nil
}
