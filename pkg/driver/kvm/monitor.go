// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/qmp"
)

// The models of devices in QEMU.
const (
	modelBlk  = "vhost-user-blk-pci"
	modelNvme = "vfio-user-pci"
)

// monitor is what is known of QEMU. Devices is replaced, never changed.
type monitor struct {
	up          bool
	why         error  // why there is no connection, or no answer; nil when all is well
	connections uint64 // counts them
	version     qmp.Version
	models      map[string]bool // which of the models this QEMU has
	// devices is what QEMU had when it last told, by id. It is kept over a lost connection, unless
	// there is no QEMU any more.
	devices map[string]device
	// departures counts devices that have gone, and connections: what was asked for before the last of
	// them must be asked for again. asked is its value when devices was.
	departures, asked uint64
	// gone says that nobody listens at the monitor's address: there is no QEMU, and no guest.
	gone bool
}

// look returns what is known now, without asking.
func (d *Driver) look() monitor {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.monitor
}

// hello finds out what this QEMU can do.
func (d *Driver) hello(ctx context.Context, c *qmp.Conn) error {
	models := map[string]bool{}
	for _, model := range []string{modelBlk, modelNvme} {
		err := c.Execute(ctx, "device-list-properties", map[string]any{"typename": model}, nil)
		if err != nil && qmp.Refusal(err) == nil {
			return fmt.Errorf("ask for the devices that it can have: %w", err)
		}
		models[model] = err == nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.monitor.version, d.monitor.models = c.Version(), models
	return nil
}

// up notes a new connection: to the same QEMU, or to one that has none of our devices.
func (d *Driver) up() {
	d.mu.Lock()
	d.monitor.up, d.monitor.gone, d.monitor.why = true, false, nil
	d.monitor.connections++
	d.monitor.departures++
	version := d.monitor.version
	d.mu.Unlock()
	d.cfg.Log.Info("QEMU is there", "address", d.cfg.Address, "version", version.String())
	d.tell(driver.EventUp)
}

// down notes why there is no connection.
func (d *Driver) down(err error) {
	d.mu.Lock()
	was := d.monitor.up
	d.monitor.up, d.monitor.why = false, err
	d.monitor.gone = errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
	if d.monitor.gone {
		was = was || len(d.monitor.devices) > 0
		d.monitor.devices = nil
	}
	d.mu.Unlock()
	if was {
		d.tell(driver.EventChanged)
	}
}

// event takes in what QEMU tells by itself.
func (d *Driver) event(e qmp.Event) {
	if e.Name != "DEVICE_DELETED" && e.Name != "DEVICE_UNPLUG_GUEST_ERROR" {
		return
	}
	var data struct {
		Device string `json:"device"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil || !ours(data.Device) {
		return
	}
	d.mu.Lock()
	d.monitor.departures++
	d.mu.Unlock()
	d.departures.tell(data.Device)
	d.tell(driver.EventChanged)
}

// away is the error of what needs a QEMU that does not answer or is not there.
func (d *Driver) away(why error) error {
	return errdefs.Wrap(errdefs.Unavailable, why, "QEMU at %s://%s cannot be reached", d.cfg.Network, d.cfg.Address)
}
