// SPDX-License-Identifier: Apache-2.0

package kvm

import "sync"

// departures tells those who wait that devices may have gone.
type departures struct {
	mu      sync.Mutex
	waiting map[string]chan struct{} // by id, each with room for one; guarded by mu
}

// await returns a channel that gets a value when something has happened to the device's unplugging.
// One waits for each device.
func (g *departures) await(id string) (happened <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting == nil {
		g.waiting = map[string]chan struct{}{}
	}
	g.waiting[id] = c
	return c, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.waiting, id)
	}
}

func (g *departures) tell(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case g.waiting[id] <- struct{}{}:
	default:
	}
}
