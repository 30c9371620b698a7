// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// Audit makes the engine compare the whole data plane with the records soon, and repair what differs,
// instead of waiting for the next turn of the clock. It returns at once.
func (e *Engine) Audit() { e.poke() }

// Objects returns everything that should exist in the data plane for the resources as they are now.
// The map is the caller's, the objects are not changed by anyone.
func (e *Engine) Objects() map[driver.Key]driver.Object {
	e.mu.RLock()
	defer e.mu.RUnlock()
	all := map[driver.Key]driver.Object{}
	for _, en := range e.index.entries {
		for _, o := range en.objects {
			all[o.Key()] = o
		}
	}
	return all
}
