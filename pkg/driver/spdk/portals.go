// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// portals remembers which listeners of one SPDK process are TLS. All listeners at one address share
// a socket, the first decides, and SPDK neither checks the others nor tells. Of listeners that were
// made before this process of the bridge nothing is known.
type portals struct {
	mu sync.Mutex
	at map[driver.Address]map[driver.Key]*driver.Listener // guarded by mu
}

func newPortals() *portals {
	return &portals{at: make(map[driver.Address]map[driver.Key]*driver.Listener)}
}

// join notes a listener that is about to be made, unless another at its address does not agree with
// it, which is returned.
func (p *portals) join(l *driver.Listener) (other *driver.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, key := l.Address.Canonical(), l.Key()
	for k, other := range p.at[at] {
		if k != key && other.Secure != l.Secure {
			return other
		}
	}
	if p.at[at] == nil {
		p.at[at] = make(map[driver.Key]*driver.Listener)
	}
	p.at[at][key] = l
	return nil
}

// leave forgets a listener.
func (p *portals) leave(l *driver.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := l.Address.Canonical()
	if delete(p.at[at], l.Key()); len(p.at[at]) == 0 {
		delete(p.at, at)
	}
}

// agree notes a listener that is about to be made, or refuses it because another at its address is
// there that does not agree with it about TLS.
func (d *Driver) agree(ctx context.Context, p *portals, l *driver.Listener) error {
	for {
		other := p.join(l)
		if other == nil {
			return nil
		}
		all, err := d.findSubsystem(ctx, other.Subsystem)
		if err != nil {
			return err
		}
		if find(all, other.Key()) != nil {
			return errdefs.New(errdefs.FailedPrecondition,
				"listen on %s for subsystem %s: subsystem %s listens there already, and all at one address must agree on TLS: use another port",
				l.Address, l.Subsystem, other.Subsystem)
		}
		p.leave(other) // it went with its subsystem, or by somebody's hand
	}
}
