// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// session is what is known of the SPDK at the other end of the present connection. It is not
// changed after it was made, only replaced.
type session struct {
	features spdkrpc.Features
	methods  map[string]bool
	// transports holds the NVMe-oF transports that are known to exist in this process.
	transports *transports
	// portals holds the listeners that were made on it through this driver.
	portals *portals
	// brought holds the bdevs that came with its remote controllers.
	brought *brought
	// firmware is the revision that its subsystems show to hosts.
	firmware string
	// sockets holds the vhost-scsi controllers that hosts can reach.
	sockets *sockets
	// room is how many subsystems it can have.
	room *room
}

// hello makes the acquaintance of the SPDK at a new connection, before anybody else calls it.
func (d *Driver) hello(ctx context.Context, c *spdkrpc.Client) error {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	var (
		version spdkrpc.Version
		names   []string
		errs    [2]error
		calls   sync.WaitGroup
	)
	calls.Go(func() { version, errs[0] = spdkrpc.GetVersion(ctx, c) })
	calls.Go(func() { names, errs[1] = spdkrpc.GetMethods(ctx, c) })
	calls.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("ask for version and methods: %w", err)
	}
	s := session{
		features: version.Features(), methods: make(map[string]bool, len(names)), firmware: version.Firmware(),
		transports: newTransports(), portals: newPortals(), brought: newBrought(), sockets: newSockets(), room: &room{},
	}
	for _, name := range names {
		s.methods[name] = true
	}
	if !s.methods["bdev_get_bdevs"] {
		return errdefs.New(errdefs.Unavailable,
			"%s has not been initialized yet: call framework_start_init, or start it without --wait-for-rpc", version.Text)
	}
	if s.methods["bdev_nvme_set_options"] {
		if err := d.setOptions(ctx, c, s.features); err != nil {
			return err
		}
	}
	if err := d.sweepKeys(ctx, c, s); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session = s
	// The epoch grows before anybody can call, so that no observation of the new process carries the
	// old one's epoch.
	d.status.Epoch++
	d.status.Version = version.Text
	return nil
}

// up notes that calls are let through.
func (d *Driver) up() {
	d.mu.Lock()
	d.status.Up, d.status.Err = true, nil
	d.mu.Unlock()
	d.events.put(driver.EventUp)
}

// down notes why there is no connection.
func (d *Driver) down(err error) {
	d.mu.Lock()
	was := d.status.Up
	d.status.Up, d.status.Err = false, err
	d.mu.Unlock()
	if was {
		d.events.put(driver.EventDown)
	}
}

// now returns the present session and its epoch.
func (d *Driver) now() (session, uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.session, d.status.Epoch
}
