// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"maps"

	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// errDoubt is in the chain of a refusal that rests on what the data plane was last seen to hold. It
// is worth looking at these objects again before refusing.
type errDoubt struct {
	error
	objects []driver.Object
}

func (d errDoubt) Unwrap() error { return d.error }

// looking calls admit under mu, and once more after a fresh look at the data plane when the first
// answer was in doubt.
func (e *Engine) looking(ctx context.Context, admit func() error) error {
	locked := func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		return admit()
	}
	err := locked()
	doubt, ok := err.(errDoubt) //nolint:errorlint // made in this file, never wrapped
	if !ok {
		return err
	}
	if err := e.look(ctx, doubt.objects); err != nil {
		return errdefs.Wrap(errdefs.ClassOf(err), err, "cannot look at the data plane, nothing was changed")
	}
	err = locked()
	if doubt, ok = err.(errDoubt); ok { //nolint:errorlint // as above
		return doubt.error
	}
	return err
}

// afresh looks at the data plane before a change to a resource of which it may hold more, or less, than
// is known, because the outcome of an earlier step was lost. Hold the name's lock.
func (e *Engine) afresh(ctx context.Context, name resource.Name) error {
	e.mu.RLock()
	en := e.index.entries[name]
	doubt := en != nil && (en.dirty || en.rec.State != resource.StateReady)
	e.mu.RUnlock()
	if !doubt {
		return nil
	}
	if err := e.observe(ctx); err != nil {
		return errdefs.Wrap(errdefs.ClassOf(err), err, "cannot look at the data plane, nothing was changed")
	}
	return nil
}

// prepare completes and checks the message of a resource, and works out its entry. Prior is the
// message so far, nil for a new resource. Hold mu.
func (e *Engine) prepare(rec *resource.Record, prior proto.Message) (*entry, error) {
	v := e.view()
	rec.Facts = ownFacts(rec)
	if err := complete(e, rec, rec.Message, prior); err != nil {
		return nil, err
	}
	if rec.Kind.HasSecrets(rec.Message) && e.cfg.Sealer == nil {
		return nil, noSealer(rec.Name)
	}
	for _, ref := range rec.Kind.Refs(rec.Message) {
		switch err := e.refers(ref, v); {
		case errors.Is(err, errdefs.InvalidArgument):
			return nil, errdefs.InvalidField(ref.Field, "%s", err)
		case err != nil:
			return nil, errdefs.Wrap(errdefs.ClassOf(err), err, "%s", ref.Field)
		}
	}
	en, err := e.entryFor(rec)
	if err != nil {
		return nil, err
	}
	for _, h := range en.holds {
		holder, taken := e.index.holders[h.Token]
		if taken && holder != rec.Name {
			if !e.decided(holder) {
				return nil, errdefs.Wrap(errdefs.Unavailable, undecided(e.index.entries[holder].rec), "%s: %s may be taken", h.Field, h.What)
			}
			class := h.Class
			if class == "" {
				class = errdefs.AlreadyExists
			}
			return nil, errdefs.New(class, "%s: %s is taken by %s", h.Field, h.What, holder).
				WithPrecondition(errdefs.Precondition{
					Type: "IN_USE", Subject: string(holder), Description: "has " + h.What + ": choose another, or delete it",
				})
		}
	}
	return en, e.placeFree(en)
}

// refers checks that a reference leads somewhere. Hold mu.
func (e *Engine) refers(ref resource.Ref, v resource.View) error {
	to := resource.Name(ref.To)
	if kind := e.registry.ByName(to); kind != nil && kind.Derived() {
		to = to.Parent()
	}
	r := v.Record(to)
	switch {
	case r != nil && (r.State == resource.StateDeleting || r.State == resource.StateCreating):
		return undecided(r)
	case !ref.Plain:
		_, err := v.Bdev(ref.To)
		return err
	case r == nil:
		return errdefs.New(errdefs.NotFound, "%s does not exist", ref.To)
	}
	return nil
}

// ownFacts returns a copy of a record's facts that may be written to.
func ownFacts(rec *resource.Record) map[string]string {
	facts := map[string]string{}
	maps.Copy(facts, rec.Facts)
	return facts
}

// complete completes and checks m, the message of rec or one to compare with it. Hold mu.
func complete(e *Engine, rec *resource.Record, m, prior proto.Message) error {
	err := rec.Kind.Complete(m, resource.Completion{
		Name: rec.Name, Prior: prior, Facts: rec.Facts, View: e.view(), NewUUID: e.cfg.NewUUID, HostNQN: e.cfg.HostNQN,
		ControllerIDs: e.cfg.ControllerIDs,
	})
	if err != nil {
		return err
	}
	return rec.Kind.Check(m)
}

// placeFree checks what the data plane was last seen to hold: nothing of somebody else's in the place
// of what is to be made, and everything there that it needs. Hold mu.
func (e *Engine) placeFree(en *entry) error {
	own := map[driver.Key]bool{}
	for _, o := range en.objects {
		own[o.Key()] = true
	}
	for _, o := range en.objects {
		key := o.Key()
		owner, owned := e.index.owners[key]
		if owned && owner != en.rec.Name {
			if !e.decided(owner) {
				return errdefs.Wrap(errdefs.Unavailable, undecided(e.index.entries[owner].rec), "%s may be taken", describe(key))
			}
			return errdefs.New(errdefs.AlreadyExists, "%s belongs to %s", describe(key), owner)
		}
		if _, there := e.world.objects[key]; there && !owned {
			return errDoubt{errdefs.New(errdefs.AlreadyExists,
				"the data plane already has %s, which the bridge did not make: remove it there, or use another name", describe(key)), en.objects}
		}
		for _, need := range o.Needs() {
			if own[need] || e.world.objects[need] != nil {
				continue
			}
			return errDoubt{e.missing(need), en.objects}
		}
	}
	return nil
}

// missing says why something needed is not there. Hold mu.
func (e *Engine) missing(need driver.Key) error {
	owner, owned := e.index.owners[need]
	if !owned {
		return errdefs.New(errdefs.NotFound, "the data plane has no %s", describe(need))
	}
	err := errdefs.New(errdefs.Unavailable, "%s is not in the data plane at the moment", owner)
	if en := e.index.entries[owner]; en != nil && en.problem != nil {
		return errdefs.Wrap(errdefs.Unavailable, en.problem, "%s is not in the data plane at the moment", owner)
	}
	return err
}
