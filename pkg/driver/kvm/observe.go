// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"maps"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Observe implements [driver.Driver]. A device of which one half is there is shown, with what it lacks.
// While QEMU does not answer, what it had when it last did counts; where nobody listens at its address
// it has nothing.
func (d *Driver) Observe(ctx context.Context) (*driver.Observation, error) {
	connections := d.look().connections
	o, err := d.cfg.Inner.Observe(ctx)
	if err != nil {
		return nil, err
	}
	devices, err := d.devices(ctx)
	if ctx.Err() != nil {
		return nil, err
	}
	if d.look().connections != connections {
		return nil, errdefs.New(errdefs.Unavailable, "QEMU was connected anew while the data plane was observed: try again")
	}
	objects := maps.Clone(o.Objects)
	for key, object := range o.Objects {
		switch half := object.(type) {
		case *driver.VirtioBlk:
			objects[key] = d.observedBlk(half, devices)
		case *driver.Listener:
			if _, there := devices[nvmeID(half)]; half.PCI != nil && !there {
				whole := *half
				whole.Lacks = driver.LacksHostDevice
				objects[key] = &whole
			}
		}
	}
	for id, v := range devices {
		name, isBlk := strings.CutPrefix(id, prefixBlk)
		if key := driver.VirtioBlkKey(name); isBlk && objects[key] == nil {
			objects[key] = &driver.VirtioBlk{Name: name, Lacks: driver.LacksBackEnd, PCI: d.address(v), Placed: true}
		}
		if l := stranded(id); l != nil && objects[l.Key()] == nil {
			objects[l.Key()] = l
		}
	}
	return &driver.Observation{Epoch: o.Epoch + connections, Objects: objects, Firmware: o.Firmware}, nil
}

// observedBlk puts the halves of a virtio-blk device together.
func (d *Driver) observedBlk(half *driver.VirtioBlk, devices map[string]device) *driver.VirtioBlk {
	whole := *half
	if v, there := devices[prefixBlk+half.Name]; there {
		whole.PCI, whole.Placed = d.address(v), true
	} else {
		whole.Lacks = driver.LacksHostDevice
	}
	return &whole
}
