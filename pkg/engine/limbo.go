// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

const (
	// healRetry lies between two tries to read the store while something is in limbo.
	healRetry = 250 * time.Millisecond
	// healWait bounds how long a request waits until it is known what the store holds.
	healWait = 2 * time.Second
)

// healing brings what comes into limbo out of it, until ctx ends. It is no part of a pass, for a pass
// may wait for the data plane, or rest, and must go on while the store is away.
func (e *Engine) healing(ctx context.Context) {
	for {
		select {
		case <-e.doubt:
		case <-ctx.Done():
			return
		}
		for told := false; ; told = true {
			err := e.heal(ctx)
			if err == nil {
				break
			}
			if !told {
				e.cfg.Log.Info("store cannot say what became of the last changes, asking again", "err", err)
			}
			if !sleep(ctx, healRetry) {
				return
			}
		}
	}
}

// heal reads the store again and makes every entry in limbo what the store says it is.
func (e *Engine) heal(ctx context.Context) error {
	inLimbo := e.inLimbo()
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
			continue // another mutation has begun, and will be told that it is too early
		}
		if d, ok := byName[name]; !ok {
			e.cfg.Log.Info("not in the store, so it is gone", "resource", name, "was", string(before.rec.State))
			e.index.remove(name)
		} else if en, err := e.decode(d); err != nil {
			e.index.remove(name)
			e.setAside(name, err)
		} else {
			e.index.put(en)
		}
		unlock()
	}
	close(e.healed)
	e.healed = make(chan struct{})
	signal(e.urgent) // what has been cut short is to be finished
	return nil
}

// inLimbo returns the entries in limbo now, without those whose mutation is about to end: of these it
// is reminded. What comes into limbo later is not to be judged by what was read before.
func (e *Engine) inLimbo() map[resource.Name]*entry {
	e.mu.RLock()
	defer e.mu.RUnlock()
	found := make(map[resource.Name]*entry, len(e.index.limbo))
	for name := range e.index.limbo {
		if unlock := e.locks.TryLock(name, true); unlock != nil {
			unlock()
			found[name] = e.index.entries[name]
		}
	}
	return found
}

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
		select {
		case <-healed:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
