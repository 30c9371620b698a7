// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Reads show outcomes and never intents: what a read has shown stays true until a later change takes
// effect, whatever crashes meanwhile. So nobody sees a create before it is certain; an update shows
// what was before until it is certain; and what is being deleted is there until it is gone. What is
// under way can be seen in a resource's [Condition]. A change that is refused because of another one
// that may still come to nothing is Unavailable, for the definite answer is not known yet. And answers
// from memory are given only as long as no other process may have changed things: see confirmed.

// shown returns the record as reads show it, nil when they do not show the resource yet.
func (en *entry) shown() *resource.Record {
	rec := en.standing()
	switch rec.State {
	case resource.StateCreating:
		return nil
	case resource.StateUpdating:
		return rec.With(func(r *resource.Record) { r.Message, r.Prior = r.Prior, nil })
	case resource.StateReady, resource.StateDeleting:
	}
	return rec
}

// standing returns the record that reads and refusals go by. A creation or update that was cut short may
// be deleted: then it will never be taken back, but that is certain only when the store has the intent.
func (en *entry) standing() *resource.Record {
	if en.before != nil {
		return en.before
	}
	return en.rec
}

// show returns what reads show under a name, nil when it is nothing. Hold mu for reading.
func (e *Engine) show(name resource.Name) proto.Message {
	if en := e.index.entries[name]; en != nil {
		if rec := en.shown(); rec != nil {
			return rec.Kind.Live(rec, e.view())
		}
	}
	return nil
}

// page returns what reads show under up to limit of the names, which come in order, and whether they
// show more. Hold mu for reading.
func (e *Engine) page(names iter.Seq[resource.Name], limit int) (items []proto.Message, more bool) {
	for name := range names {
		switch {
		case !e.shows(name):
			continue
		case len(items) == limit:
			return items, true
		}
		items = append(items, e.show(name))
	}
	return items, false
}

// shows says whether reads show a resource of that name. Hold mu for reading.
func (e *Engine) shows(name resource.Name) bool {
	en := e.index.entries[name]
	return en != nil && en.shown() != nil
}

// decided says whether the resource has, uses and is what its record says until another request changes
// that: its creation or update will not be taken back any more. Hold mu for reading.
func (e *Engine) decided(name resource.Name) bool {
	en := e.index.entries[name]
	if en == nil {
		return false
	}
	state := en.standing().State
	return state == resource.StateReady || state == resource.StateDeleting
}

// confirmed returns err, the outcome of a look into memory, unless another process may have changed
// things since memory was true.
func (e *Engine) confirmed(ctx context.Context, err error) error {
	if replaced := e.cfg.Confirm(ctx); replaced != nil {
		return errdefs.Wrap(errdefs.Unavailable, replaced, "this bridge may not know the latest state")
	}
	return err
}

// undecided is what a request is told that depends on a change which is under way.
func undecided(rec *resource.Record) error {
	doing := map[resource.State]string{
		resource.StateCreating: "still being created",
		resource.StateUpdating: "being changed",
		resource.StateDeleting: "being deleted",
	}[rec.State]
	return errdefs.New(errdefs.Unavailable, "%s is %s: try again", rec.Name, doing)
}
