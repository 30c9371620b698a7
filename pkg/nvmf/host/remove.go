// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// remove begins to take the path away; gone is closed when that is done.
func (p *path) remove() {
	p.removal.Do(func() { p.host.tasks.Go(p.takeAway) })
}

// takeAway ends run, takes the path from its devices, unregisters those that have no other, and
// forgets the path.
func (p *path) takeAway() {
	defer close(p.gone)
	p.setState(StateDeleting)
	p.cancel()
	<-p.done
	h := p.host
	var orphans []*device
	h.mu.Lock()
	for nsid := range p.namespaces {
		if d := p.lose(nsid); d != nil {
			orphans = append(orphans, d)
		}
	}
	h.mu.Unlock()
	p.wakeDevices()
	var all sync.WaitGroup
	for _, d := range orphans {
		all.Go(func() { h.unregister(context.Background(), d) })
	}
	all.Wait()
	h.mu.Lock()
	h.drop(p)
	h.mu.Unlock()
}

// unregister removes a bdev whose device has no path any more.
func (h *Host) unregister(ctx context.Context, d *device) {
	d.wake()
	err := h.cfg.Registry.Unregister(ctx, d.name, moduleNVMe)
	if err != nil && !errors.Is(err, errdefs.NotFound) {
		h.log.Warn("bdev not unregistered", "bdev", d.name, "err", err)
	}
}
