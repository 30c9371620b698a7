// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"time"

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
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		e.storeErr = nil
		return revisions, nil
	}
	switch errdefs.ClassOf(err) { //nolint:exhaustive // with all other classes nothing was done
	case errdefs.Unavailable:
		e.storeErr = err
	case errdefs.Aborted, errdefs.OutcomeUnknown:
		// Somebody else wrote the record, or the answer was lost: what memory holds may not be true.
		if en := e.index.entries[name]; en != nil {
			en.limbo = true
			e.index.mark(en)
		}
		e.poke()
	}
	return nil, errdefs.Wrap(errdefs.ClassOf(err), err, "the store did not confirm %s", name)
}

// heal reads the store again and makes every entry in limbo what the store says it is.
func (e *Engine) heal(ctx context.Context) error {
	// Only what is in limbo already: a write that is lost while the store is being read may be newer
	// than what is read.
	e.mu.RLock()
	inLimbo := make(map[resource.Name]*entry, len(e.index.limbo))
	for name := range e.index.limbo {
		inLimbo[name] = e.index.entries[name]
	}
	e.mu.RUnlock()
	if len(inLimbo) == 0 {
		return nil
	}
	docs, err := e.cfg.Store.Load(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.storeErr = err
	if err != nil {
		return err
	}
	byName := make(map[resource.Name]store.Document, len(docs))
	for _, d := range docs {
		byName[resource.Name(d.Name)] = d
	}
	for name, before := range inLimbo {
		if e.index.entries[name] != before {
			continue
		}
		unlock := e.locks.TryLock(name, true)
		if unlock == nil {
			continue // its mutation is about to end
		}
		if d, ok := byName[name]; !ok {
			e.index.remove(name)
		} else if en, err := e.decode(d); err != nil {
			e.cfg.Log.Error("record cannot be read", "resource", name, "err", err)
		} else {
			e.index.put(en)
		}
		unlock()
	}
	close(e.healed)
	e.healed = make(chan struct{})
	return nil
}

// healWait bounds how long a request waits until it is known what the store holds.
const healWait = 2 * time.Second

// certain waits a little while it is not known what the store holds under a name.
func (e *Engine) certain(ctx context.Context, name resource.Name) {
	timer := time.NewTimer(healWait)
	defer timer.Stop()
	for {
		e.mu.RLock()
		en, healed := e.index.entries[name], e.healed
		limbo := en != nil && en.limbo
		e.mu.RUnlock()
		if !limbo {
			return
		}
		e.poke()
		select {
		case <-healed:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
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
