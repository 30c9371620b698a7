// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// load reads every record from the store into memory.
func (e *Engine) load(ctx context.Context) error {
	docs, err := e.cfg.Store.Load(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.storeErr = err
	if err != nil {
		return err
	}
	// A record is understood in the light of those it belongs to and refers to, so all are there before
	// any is looked into.
	var names []resource.Name
	for _, d := range docs {
		rec, err := e.decodeRecord(d)
		if err != nil {
			e.setAside(resource.Name(d.Name), err)
			continue
		}
		e.index.put(&entry{rec: rec})
		names = append(names, rec.Name)
	}
	for _, name := range names {
		en, err := e.entryFor(e.index.entries[name].rec)
		if err != nil {
			e.index.remove(name)
			e.setAside(name, err)
			continue
		}
		en.dirty = true
		e.index.put(en)
	}
	e.loaded = true
	e.cfg.Log.Info("store read", "resources", len(e.index.entries), "unreadable", len(e.index.unreadable))
	return nil
}

// setAside notes a record that cannot be read: it must not keep all others from their disks. Hold mu.
func (e *Engine) setAside(name resource.Name, err error) {
	e.cfg.Log.Error("record cannot be read", "resource", name, "err", err)
	e.index.unreadable[name] = err
}

// unreadable is what a request is told that is about such a record.
func unreadable(name resource.Name, cause error) error {
	return errdefs.Wrap(errdefs.FailedPrecondition, cause, "%s exists, but its record cannot be read", name)
}
