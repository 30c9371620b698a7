// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Create makes a resource of the kind below parent ("" at the top) and returns it as Get would. An
// empty id asks for a generated one. The message is not changed. Creating again what exists just so
// returns what exists; with another message it is AlreadyExists.
func (e *Engine) Create(ctx context.Context, kind *resource.Kind, parent, id string, msg proto.Message) (proto.Message, error) {
	if kind.Derived() {
		return nil, errdefs.New(errdefs.Unimplemented, "%s are found in the data plane and cannot be created", kind.Plural())
	}
	above, err := kind.ParseParent("parent", parent)
	if err != nil {
		return nil, err
	}
	if id == "" {
		id = e.cfg.NewUUID()
	} else if err := e.cfg.CheckID(idField(kind), id); err != nil {
		return nil, err
	}
	return e.create(ctx, kind, kind.Join(above, id), msg)
}

// idField returns the request field that carries the id: "nvme_subsystem_id".
func idField(kind *resource.Kind) string {
	var b strings.Builder
	for _, r := range kind.Singular() {
		if 'A' <= r && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String() + "_id"
}

func (e *Engine) create(ctx context.Context, kind *resource.Kind, name resource.Name, msg proto.Message) (proto.Message, error) {
	if err := e.admitting(ctx); err != nil {
		return nil, err
	}
	e.certain(ctx, name)
	unlock, err := e.locks.Lock(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return e.createLocked(ctx, kind, name, msg)
}

// createLocked is create under the name's lock.
func (e *Engine) createLocked(ctx context.Context, kind *resource.Kind, name resource.Name, msg proto.Message) (proto.Message, error) {
	now := e.cfg.Now()
	rec := &resource.Record{Name: name, Kind: kind, Message: plain(msg), State: resource.StateCreating, Created: now, Updated: now}
	var en *entry
	var existing bool
	err := e.looking(ctx, func() (err error) {
		if old := e.index.entries[name]; old != nil {
			en, existing = old, true
			return e.sameAs(old, rec)
		}
		if err := e.index.unreadable[name]; err != nil {
			return errdefs.Wrap(errdefs.AlreadyExists, unreadable(name, err), "another cannot be made")
		}
		if err := e.parentReady(name); err != nil {
			return err
		}
		if en, err = e.prepare(rec, nil); err != nil {
			return err
		}
		e.index.put(en)
		return nil
	})
	switch {
	case err != nil:
		return nil, e.confirmed(ctx, err)
	case existing:
		return e.existing(ctx, en)
	}
	if err := e.intend(ctx, en, nil); err != nil {
		return nil, err
	}
	if err := e.carryOut(ctx, en, false); err != nil {
		return nil, err
	}
	return e.answer(name)
}

// plain returns a copy of a message without what clients do not set.
func plain(m proto.Message) proto.Message {
	m = proto.Clone(m)
	resource.ClearOutputOnly(m)
	resource.SetName(m, "")
	return m
}

// sameAs checks whether a create asks for what exists, or is being created already. Hold mu.
func (e *Engine) sameAs(old *entry, asked *resource.Record) error {
	rec := old.shown()
	if rec == nil {
		rec = old.standing()
	}
	m := proto.Clone(asked.Message)
	before := rec.With(func(r *resource.Record) { r.Facts = ownFacts(r) })
	if err := complete(e, before, m, rec.Message); err != nil {
		return err
	}
	if differences := resource.Changed(rec.Message, m); len(differences) > 0 {
		if rec.State == resource.StateCreating {
			return undecided(rec)
		}
		return errdefs.New(errdefs.AlreadyExists, "%s exists, and differs in %s", old.rec.Name, strings.Join(differences, ", "))
	}
	if old.rec.State == resource.StateDeleting {
		return errdefs.New(errdefs.Aborted, "%s is being deleted: try again when it is gone", old.rec.Name)
	}
	return nil
}

// existing answers a create of what exists, after finishing it when an earlier attempt was cut short.
func (e *Engine) existing(ctx context.Context, en *entry) (proto.Message, error) {
	if err := e.usable(en); err != nil {
		return nil, err
	}
	if en.rec.State == resource.StateCreating {
		if err := e.look(ctx, en.objects); err != nil {
			return nil, err
		}
		if err := e.carryOut(ctx, en, true); err != nil {
			return nil, err
		}
	} else if err := e.confirmed(ctx, nil); err != nil {
		return nil, err
	}
	return e.answer(en.rec.Name)
}

// usable refuses while it is not known what the store holds.
func (e *Engine) usable(en *entry) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if en.limbo {
		return errdefs.New(errdefs.Unavailable, "the store has not confirmed the last change of %s yet: try again", en.rec.Name)
	}
	return nil
}

// parentReady checks that the parent exists and is not about to go. Hold mu.
func (e *Engine) parentReady(name resource.Name) error {
	parent := name.Parent()
	if parent == "" {
		return nil
	}
	switch en := e.index.entries[parent]; {
	case en == nil:
		return errdefs.New(errdefs.NotFound, "parent: %s does not exist", parent)
	case en.rec.State == resource.StateDeleting, en.rec.State == resource.StateCreating:
		// A creation may yet be refused, and a child must not outlive that.
		return errdefs.Wrap(errdefs.Unavailable, undecided(en.rec), "parent")
	}
	return nil
}
