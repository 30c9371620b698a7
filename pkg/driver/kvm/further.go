// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"fmt"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// lacks is the error of an ability that the driver of the data plane does not have.
func lacks(what string) error {
	return errdefs.New(errdefs.Unimplemented, "the driver of this data plane cannot %s", what)
}

// Stats implements [driver.Statter], if the driver of the data plane does.
func (d *Driver) Stats(ctx context.Context, keys []driver.Key) ([]driver.IOStats, error) {
	if inner, ok := d.cfg.Inner.(driver.Statter); ok {
		return inner.Stats(ctx, keys)
	}
	return nil, lacks("count I/O")
}

// ResetController implements [driver.Resetter], if the driver of the data plane does.
func (d *Driver) ResetController(ctx context.Context, controller string) error {
	if inner, ok := d.cfg.Inner.(driver.Resetter); ok {
		return inner.ResetController(ctx, controller)
	}
	return lacks("reset controllers")
}

// ConnectedHosts implements [driver.HostCounter], if the driver of the data plane does.
func (d *Driver) ConnectedHosts(ctx context.Context, subsystem string) (map[driver.Key]int, error) {
	if inner, ok := d.cfg.Inner.(driver.HostCounter); ok {
		return inner.ConnectedHosts(ctx, subsystem)
	}
	return nil, lacks("count hosts")
}

// Capabilities implements [driver.Capable], if the driver of the data plane does: what that can do, less
// what this QEMU cannot show.
func (d *Driver) Capabilities(ctx context.Context) (driver.Capabilities, error) {
	inner, ok := d.cfg.Inner.(driver.Capable)
	if !ok {
		return driver.Capabilities{}, lacks("tell what it can do")
	}
	c, err := inner.Capabilities(ctx)
	if err != nil {
		return c, err
	}
	c.Version = d.Status().Version
	m := d.look()
	if !m.up || !m.models[modelBlk] {
		c.Frontends = slices.DeleteFunc(c.Frontends, func(f driver.Frontend) bool { return f == driver.FrontendVirtioBlk })
	}
	for i := range c.Transports {
		t := &c.Transports[i]
		if t.Transport != driver.TransportPCIe || t.Listen == driver.ReadinessMissing {
			continue
		}
		switch {
		case !m.up:
			t.Listen, t.Reason = driver.ReadinessMissing, fmt.Sprintf("QEMU cannot be reached: %v", m.why)
		case !m.models[modelNvme]:
			t.Listen, t.Reason = driver.ReadinessMissing, "QEMU "+m.version.String()+" has no vfio-user client: it has one since version 10.1"
		}
	}
	return c, nil
}
