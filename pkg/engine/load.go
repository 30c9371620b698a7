// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/store"
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
	// A record is understood in the light of those it belongs to and refers to: parents lie above
	// their children, and volumes are at the top or below controllers, so shorter names come first,
	// and kinds in the order of their declaration.
	slices.SortStableFunc(docs, func(a, b store.Document) int { return e.loadOrder(a) - e.loadOrder(b) })
	for _, d := range docs {
		en, err := e.decode(d)
		if err != nil {
			// One record that cannot be read must not keep all others from their disks.
			e.cfg.Log.Error("record cannot be read", "resource", d.Name, "err", err)
			e.index.unreadable[resource.Name(d.Name)] = err
			continue
		}
		e.index.put(en)
	}
	e.loaded = true
	e.cfg.Log.Info("store read", "resources", len(e.index.entries), "unreadable", len(e.index.unreadable))
	return nil
}

func (e *Engine) loadOrder(d store.Document) int {
	depth := strings.Count(d.Name, "/")
	return depth*len(e.registry.Kinds()) + slices.Index(e.registry.Kinds(), e.registry.ByName(resource.Name(d.Name)))
}
