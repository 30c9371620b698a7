// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// Events implements [driver.Driver].
func (d *Driver) Events() <-chan driver.Event { return d.out }

// tell lets the consumer know what has happened in QEMU. It does not block: events of one kind are one.
func (d *Driver) tell(kind driver.EventKind) {
	news := d.changed
	if kind == driver.EventUp {
		news = d.came
	}
	select {
	case news <- struct{}{}:
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
		case <-d.changed:
			add(driver.EventChanged)
		case <-d.came:
			// Who hears that there is a connection counts on the data plane.
			if d.cfg.Inner.Status().Up {
				add(driver.EventUp)
			}
		case out <- next:
			pending = pending[1:]
		case <-ctx.Done():
			return
		}
	}
}
