// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// write stores the record and returns it with its new revision. When the outcome is not known the
// entry goes into limbo, out of which heal brings it.
func (e *Engine) write(ctx context.Context, rec *resource.Record) (*resource.Record, error) {
	body, secrets, err := rec.Encode()
	if err != nil {
		return nil, err
	}
	sealed, err := e.seal(rec.Name, secrets)
	if err != nil {
		return nil, err
	}
	revisions, err := e.commit(ctx, rec.Name, store.Write{
		Document: store.Document{Name: string(rec.Name), Body: body, Sealed: sealed},
		Base:     rec.Revision,
	})
	if err != nil {
		return nil, err
	}
	return rec.With(func(r *resource.Record) { r.Revision = revisions[0] }), nil
}

// erase removes the record from the store.
func (e *Engine) erase(ctx context.Context, rec *resource.Record) error {
	_, err := e.commit(ctx, rec.Name, store.Write{
		Document: store.Document{Name: string(rec.Name)},
		Base:     rec.Revision,
		Delete:   true,
	})
	return err
}

func (e *Engine) commit(ctx context.Context, name resource.Name, w store.Write) ([]uint64, error) {
	revisions, err := e.cfg.Store.Commit(ctx, []store.Write{w})
	if err == nil {
		e.storeAnswers()
		return revisions, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch errdefs.ClassOf(err) { //nolint:exhaustive // with all other classes nothing was done
	case errdefs.Unavailable:
		e.storeErr = err
	case errdefs.Aborted, errdefs.OutcomeUnknown:
		// Somebody else wrote the record, or the answer was lost: what memory holds may not be true.
		if en := e.index.entries[name]; en != nil {
			en.limbo = true
			e.index.mark(en)
		}
		signal(e.doubt)
	}
	return nil, errdefs.Wrap(errdefs.ClassOf(err), err, "the store did not confirm %s", name)
}

// storeAnswers notes that the store has answered. Each of hundreds of commits at a time does, so the lock
// that keeps everybody out is taken only when that is news.
func (e *Engine) storeAnswers() {
	e.mu.RLock()
	news := e.storeErr != nil
	e.mu.RUnlock()
	if news {
		e.mu.Lock()
		e.storeErr = nil
		e.mu.Unlock()
	}
}

// decode makes an entry of what the store holds. Hold mu.
func (e *Engine) decode(d store.Document) (*entry, error) {
	rec, err := e.decodeRecord(d)
	if err != nil {
		return nil, err
	}
	en, err := e.entryFor(rec)
	if err != nil {
		return nil, err
	}
	en.dirty = true
	return en, nil
}

// decodeRecord makes a record of what the store holds.
func (e *Engine) decodeRecord(d store.Document) (*resource.Record, error) {
	name := resource.Name(d.Name)
	kind := e.registry.ByName(name)
	if kind == nil {
		return nil, errdefs.New(errdefs.Unimplemented,
			"%s is of a kind that this version does not know; it is kept and left alone", name)
	}
	secrets, err := e.open(name, d.Sealed)
	if err != nil {
		return nil, err
	}
	return kind.Decode(name, d.Revision, d.Body, secrets)
}

// entryFor works out what belongs to a record. Hold mu.
func (e *Engine) entryFor(rec *resource.Record) (*entry, error) {
	v := e.view()
	objects, err := rec.Kind.Objects(rec, rec.Message, v)
	if err != nil {
		return nil, err
	}
	en := &entry{rec: rec, objects: objects, holds: rec.Kind.Holds(rec, rec.Message, v)}
	if rec.Prior != nil {
		// What the resource was stays reserved until the update is over, so that it can be undone.
		if en.obsolete, err = rec.Kind.Objects(rec, rec.Prior, v); err != nil {
			return nil, err
		}
		en.holds = append(en.holds, rec.Kind.Holds(rec, rec.Prior, v)...)
	}
	return en, nil
}
