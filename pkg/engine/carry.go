// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// intend writes the intent of an entry that is in the index already. When the store refuses, before
// is put back (nil: the entry is removed), and nothing has happened. Hold the name's lock.
func (e *Engine) intend(ctx context.Context, en, before *entry) error {
	rec, err := e.write(ctx, en.rec)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		en.rec, en.before = rec, nil
	case en.limbo:
		// heal finds out.
	case before != nil:
		e.index.put(before)
	default:
		e.index.remove(en.rec.Name)
	}
	return err
}

// carryOut takes a resource from its intent to its outcome: it changes the data plane and writes the
// outcome. Adopt says that an earlier attempt may have done part of it. Hold the name's lock; the
// intent is in the store.
func (e *Engine) carryOut(ctx context.Context, en *entry, adopt bool) error {
	err := e.prepareGround(ctx, en)
	e.mu.RLock()
	var changes []change
	if err == nil {
		changes, err = e.due(en, nil)
	}
	epoch := e.settledEpoch
	e.mu.RUnlock()
	if err != nil {
		return e.conclude(ctx, en, outcome{err: err, continued: adopt})
	}
	p := plan([][]change{changes}, nil, adopt)
	o := judge(p.steps, e.apply(ctx, p.steps), adopt)
	// A data plane that has come back, and has not been given everything back yet, may refuse anything.
	o.unknown = o.unknown || o.err != nil && e.cfg.Driver.Status().Epoch != epoch
	return e.conclude(ctx, en, o)
}

// errWaiting is in the chain of a problem that goes away when something needed appears.
var errWaiting = errors.New("is not there yet")

// conclude draws the conclusion from what became of a resource's steps: it writes the outcome, undoes
// what was refused, or leaves the intent to a later pass. It returns what to tell the caller. Hold the
// name's lock.
func (e *Engine) conclude(ctx context.Context, en *entry, o outcome) error {
	switch {
	case o.err == nil:
		return e.succeed(ctx, en)
	case o.unknown:
		e.postpone(en, o.err)
		return errdefs.Wrap(errdefs.OutcomeUnknown, o.err, "%s: it is being found out whether this happened", en.rec.Name)
	}
	switch en.rec.State {
	case resource.StateCreating, resource.StateUpdating:
		return e.takeBack(ctx, en, o)
	case resource.StateDeleting:
		// A deletion is not taken back: part of it may be done, and what is gone is gone.
		e.postpone(en, o.err)
		return errdefs.Wrap(errdefs.OutcomeUnknown, o.err, "%s is not deleted yet: it will be tried again until it is", en.rec.Name)
	case resource.StateReady:
		e.postpone(en, o.err)
	}
	return o.err
}

// succeed writes that what was intended is done.
func (e *Engine) succeed(ctx context.Context, en *entry) error {
	ctx, cancel := detach(ctx)
	defer cancel()
	switch en.rec.State {
	case resource.StateDeleting:
		if err := e.erase(ctx, en.rec); err != nil {
			return e.unnoted(en, err)
		}
		e.mu.Lock()
		e.index.remove(en.rec.Name)
		delete(e.repairs, en.rec.Name)
		e.mu.Unlock()
		e.cfg.Log.Info("deleted", "resource", en.rec.Name)
		return nil
	case resource.StateCreating, resource.StateUpdating:
		was := en.rec.State
		rec, err := e.write(ctx, en.rec.With(func(r *resource.Record) { r.State, r.Prior = resource.StateReady, nil }))
		if err != nil {
			return e.unnoted(en, err)
		}
		e.replaceRecord(en, rec)
		e.cfg.Log.Info("ready", "resource", rec.Name, "was", string(was))
		return nil
	case resource.StateReady:
	}
	e.contented(en)
	return nil
}

// unnoted leaves an intent that was carried out, but is still an intent in the store: a later pass
// writes the outcome.
func (e *Engine) unnoted(en *entry, err error) error {
	e.postpone(en, err)
	return errdefs.Wrap(errdefs.OutcomeUnknown, err, "the data plane has what was asked of %s, but the store did not take note", en.rec.Name)
}

// takeBack undoes a create or an update that the data plane refused, so that it is as if it had never
// been asked for.
func (e *Engine) takeBack(ctx context.Context, en *entry, o outcome) error {
	ctx, cancel := detach(ctx)
	defer cancel()
	if err := e.restore(ctx, en, o); err != nil {
		return e.stands(en, o.err, err)
	}
	if en.rec.State == resource.StateCreating {
		if err := e.erase(ctx, en.rec); err != nil {
			return e.stands(en, o.err, err)
		}
		e.mu.Lock()
		e.index.remove(en.rec.Name)
		e.mu.Unlock()
		return o.err
	}
	rec, err := e.write(ctx, en.rec.With(func(r *resource.Record) {
		r.State, r.Message, r.Prior = resource.StateReady, r.Prior, nil
	}))
	if err != nil {
		return e.stands(en, o.err, err)
	}
	e.replaceRecord(en, rec)
	return o.err
}

// stands leaves an intent that was refused and could not be taken back: the next pass starts from what
// is there, and may succeed.
func (e *Engine) stands(en *entry, refusal, err error) error {
	e.postpone(en, errors.Join(refusal, err))
	return errdefs.Wrap(errdefs.OutcomeUnknown, refusal, "%s was refused and could not be undone at once", en.rec.Name)
}

// restore makes the data plane what it was before the intent. When all that was done is known, exactly
// that is undone; else everything that the intent could have made is compared with what is there.
func (e *Engine) restore(ctx context.Context, en *entry, o outcome) error {
	if !o.continued {
		return e.undo(ctx, o.done)
	}
	e.mu.RLock()
	before := entry{obsolete: en.objects, rec: en.rec.With(func(r *resource.Record) { r.State = resource.StateDeleting })}
	if en.rec.State == resource.StateUpdating {
		before = entry{rec: en.rec, objects: en.obsolete, obsolete: en.objects}
	}
	e.mu.RUnlock()
	if err := e.look(ctx, slices.Concat(before.objects, before.obsolete)); err != nil {
		return err
	}
	e.mu.RLock()
	changes, err := e.due(&before, nil)
	e.mu.RUnlock()
	if err != nil {
		return err
	}
	p := plan([][]change{changes}, nil, true)
	return judge(p.steps, e.apply(ctx, p.steps), true).err
}

// replaceRecord puts a settled record in the place of an intent.
func (e *Engine) replaceRecord(en *entry, rec *resource.Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next, err := e.entryFor(rec)
	if err != nil {
		// What it refers to was there when it was admitted and cannot have gone.
		e.cfg.Log.Error("resource lost what it refers to", "resource", rec.Name, "err", err)
		next = &entry{rec: rec, objects: en.objects, holds: en.holds}
	}
	e.index.put(next)
}

// answer returns the resource as Get does.
func (e *Engine) answer(name resource.Name) (proto.Message, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	m := e.show(name)
	if m == nil {
		return nil, errdefs.New(errdefs.Aborted, "%s was deleted at the same time", name)
	}
	return m, nil
}
