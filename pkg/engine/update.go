// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Update changes the fields named by mask (AIP-134: nil means those that are set in msg, "*" all) and
// returns the resource as Get would. With allowMissing a resource that does not exist is created from
// msg. A change that the kind cannot make in place is InvalidArgument naming the field.
func (e *Engine) Update(ctx context.Context, kind *resource.Kind, name string, msg proto.Message, mask []string, allowMissing bool) (proto.Message, error) {
	if kind.Derived() {
		return nil, errdefs.New(errdefs.Unimplemented, "%s are found in the data plane and cannot be changed", kind.Plural())
	}
	n, err := kind.Parse("name", name)
	if err != nil {
		return nil, err
	}
	if err := e.admitting(ctx); err != nil {
		return nil, err
	}
	e.certain(ctx, n)
	unlock, err := e.locks.Lock(ctx, n)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := e.afresh(ctx, n); err != nil {
		return nil, err
	}
	e.mu.RLock()
	missing := e.index.entries[n] == nil
	e.mu.RUnlock()
	if missing && allowMissing {
		if err := e.cfg.CheckID("name", n.ID()); err != nil {
			return nil, err
		}
		return e.createLocked(ctx, kind, n, msg)
	}

	var before, en *entry
	err = e.looking(ctx, func() error {
		if err := e.index.unreadable[n]; err != nil {
			return unreadable(n, err)
		}
		if before = e.index.entries[n]; before == nil {
			return errdefs.New(errdefs.NotFound, "%s does not exist", n)
		}
		en, err = e.admitUpdate(before, msg, mask)
		return err
	})
	if err != nil || en == before {
		if err := e.confirmed(ctx, err); err != nil {
			return nil, err
		}
		return e.answer(n)
	}
	if err := e.intend(ctx, en, before); err != nil {
		return nil, err
	}
	if err := e.carryOut(ctx, en, false); err != nil {
		return nil, err
	}
	return e.answer(n)
}

// admitUpdate puts the entry of the update into the index and returns it, or returns before when
// nothing changes. Hold mu.
func (e *Engine) admitUpdate(before *entry, msg proto.Message, mask []string) (*entry, error) {
	rec := before.rec
	switch {
	case before.limbo:
		return nil, errdefs.New(errdefs.Unavailable, "the store has not confirmed the last change of %s yet: try again", rec.Name)
	case rec.State == resource.StateDeleting:
		return nil, undecided(rec)
	case rec.State != resource.StateReady:
		return nil, errdefs.New(errdefs.Unavailable, "an earlier change of %s is not finished: try again", rec.Name)
	}
	next, err := rec.Kind.Masked(rec.Message, plain(msg), mask)
	if err != nil {
		return nil, err
	}
	same := rec.With(func(r *resource.Record) { r.Facts = ownFacts(r) })
	if err := complete(e, same, next, rec.Message); err != nil {
		return nil, err
	}
	if err := rec.Kind.CheckChange(rec.Message, next); err != nil {
		return nil, err
	}
	if proto.Equal(next, rec.Message) {
		return before, nil
	}
	en, err := e.prepare(rec.With(func(r *resource.Record) {
		r.Message, r.Prior, r.State, r.Updated = next, rec.Message, resource.StateUpdating, e.cfg.Now()
	}), rec.Message)
	if err != nil {
		return nil, err
	}
	e.index.put(en)
	return en, nil
}
