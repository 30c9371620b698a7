// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// portals remembers which listeners of one SPDK process are TLS. All listeners at one address share
// a socket, the first decides, and SPDK neither checks the others nor tells.
type portals struct {
	mu sync.Mutex
	at map[driver.Address]map[driver.Key]bool // guarded by mu
}

func newPortals() *portals { return &portals{at: make(map[driver.Address]map[driver.Key]bool)} }

// join notes a listener that is about to be made, or refuses one that does not agree with the others
// at its address.
func (p *portals) join(l *driver.Listener) error {
	if p == nil {
		return nil // there has been no connection: the call will say so
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at, key := l.Address.Canonical(), l.Key()
	for other, secure := range p.at[at] {
		if other != key && secure != l.Secure {
			return errdefs.New(errdefs.FailedPrecondition,
				"listen on %s for subsystem %s: %s is there already, and with TLS or without is for all at one address to agree on: use another port",
				l.Address, l.Subsystem, other)
		}
	}
	if p.at[at] == nil {
		p.at[at] = make(map[driver.Key]bool)
	}
	p.at[at][key] = l.Secure
	return nil
}

// leave forgets a listener.
func (p *portals) leave(l *driver.Listener) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := l.Address.Canonical()
	if delete(p.at[at], l.Key()); len(p.at[at]) == 0 {
		delete(p.at, at)
	}
}
