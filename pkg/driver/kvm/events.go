// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// Events implements [driver.Driver].
func (d *Driver) Events() <-chan driver.Event { return d.out }

// tell lets the consumer know what has happened in QEMU. It does not block: what does not fit is there
// already, or will be looked at with it.
func (d *Driver) tell(kind driver.EventKind) {
	select {
	case d.news <- kind:
	default:
	}
}

// pump hands out what happens on both sides, of each kind only the latest, until ctx ends.
func (d *Driver) pump(ctx context.Context) {
	var pending []driver.EventKind
	add := func(kind driver.EventKind) {
		pending = append(slices.DeleteFunc(pending, func(k driver.EventKind) bool { return k == kind }), kind)
	}
	for {
		var (
			out  chan driver.Event
			next driver.Event
		)
		if len(pending) > 0 {
			out, next = d.out, driver.Event{Kind: pending[0]}
		}
		select {
		case event := <-d.cfg.Inner.Events():
			add(event.Kind)
		case kind := <-d.news:
			// Whoever hears that there is a connection counts on the data plane.
			if kind == driver.EventUp && !d.cfg.Inner.Status().Up {
				continue
			}
			add(kind)
		case out <- next:
			pending = pending[1:]
		case <-ctx.Done():
			return
		}
	}
}
