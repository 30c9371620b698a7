// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// singly is how many things are asked for one by one at most. To list everything is cheaper than many
// questions, and how many there are follows from what was changed, not from what else there is.
const singly = 64

// observe looks at the whole data plane and takes over what it sees.
func (e *Engine) observe(ctx context.Context) error {
	e.mu.Lock()
	since := e.world.start()
	e.mu.Unlock()
	o, err := e.cfg.Driver.Observe(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if o.Epoch > e.world.epoch || !e.world.known {
		e.epochSince = e.cfg.Now()
	}
	e.world.merge(o, since)
	return nil
}

// look looks at these objects, and at what they bring and need, and takes over what it sees.
func (e *Engine) look(ctx context.Context, objects []driver.Object) error {
	e.mu.Lock()
	keys := e.surroundings(objects)
	since := e.world.start()
	e.mu.Unlock()
	if len(keys) > singly {
		return e.observe(ctx)
	}
	o, err := e.cfg.Driver.Look(ctx, keys)
	if err != nil {
		return err
	}
	e.mu.Lock()
	taken := e.world.absorb(o, keys, since)
	e.mu.Unlock()
	if !taken {
		return e.observe(ctx)
	}
	return nil
}

// surroundings lists the keys of the objects, of what they need, and of what they have brought. Hold mu.
func (e *Engine) surroundings(objects []driver.Object) []driver.Key {
	var keys []driver.Key
	listed := map[driver.Key]bool{}
	add := func(more ...driver.Key) {
		for _, key := range more {
			if !listed[key] {
				listed[key] = true
				keys = append(keys, key)
			}
		}
	}
	for _, o := range objects {
		add(o.Key())
		add(o.Needs()...)
		if r, ok := o.(driver.Remote); ok {
			for _, b := range e.world.brought[r.Brings()] {
				add(b.Key())
			}
		}
	}
	return keys
}
