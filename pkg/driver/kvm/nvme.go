// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// vfioUserSocket is the name of the socket that SPDK makes in an endpoint's directory.
const vfioUserSocket = "cntrl"

// nvmeID returns the id of a PCIe endpoint's device: the function, and the subsystem in the letters that
// QEMU has for ids. It tells which endpoint a device has lost.
func nvmeID(l *driver.Listener) string {
	var id strings.Builder
	id.WriteString(prefixNvme + l.Address.Traddr + ".")
	for _, c := range []byte(l.Subsystem) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
			id.WriteByte(c)
		default:
			fmt.Fprintf(&id, "_%02x", c)
		}
	}
	return id.String()
}

// stranded returns what a device was made for, without its back end, or nil if the id is none of nvmeID's.
func stranded(id string) *driver.Listener {
	name, ok := strings.CutPrefix(id, prefixNvme)
	parts := strings.SplitN(name, ".", 4)
	if !ok || len(parts) < 4 {
		return nil
	}
	l := &driver.Listener{PCI: &driver.PCIAddress{}, Lacks: driver.LacksBackEnd}
	for i, number := range []*int32{&l.PCI.Port, &l.PCI.Physical, &l.PCI.Virtual} {
		n, err := strconv.ParseUint(parts[i], 10, 31)
		if err != nil {
			return nil
		}
		*number = int32(n)
	}
	l.Address = driver.Address{
		Transport: driver.TransportPCIe, Traddr: fmt.Sprintf("%d.%d.%d", l.PCI.Port, l.PCI.Physical, l.PCI.Virtual),
	}
	subsystem, err := url.PathUnescape(strings.ReplaceAll(parts[3], "_", "%"))
	if l.Subsystem = subsystem; err != nil || nvmeID(l) != id {
		return nil
	}
	return l
}

// nvmePart returns a PCIe endpoint's half in QEMU. The data plane has made the socket in a directory
// named after the function.
func (d *Driver) nvmePart(l *driver.Listener) (part, error) {
	s, err := d.seat("spec.pcie_id", *l.PCI)
	return part{
		id: nvmeID(l), model: modelNvme,
		what:   "NVMe controller at PCIe function " + l.Address.Traddr + " of subsystem " + l.Subsystem,
		socket: filepath.Join(d.cfg.VfioUserDir, l.Address.Traddr, vfioUserSocket), seat: s,
	}, err
}

// createNvme makes the endpoint, then the device. A device that is there without its endpoint has lost
// the connection for good, as vfio-user has none that comes back. It goes first, so that whoever dies in
// between leaves what can be seen to be incomplete.
func (d *Driver) createNvme(ctx context.Context, step *driver.Step, l *driver.Listener) error {
	p, err := d.nvmePart(l)
	if err != nil {
		return err
	}
	if d.cfg.VfioUserDir == "" {
		return d.inner(ctx, *step) // the data plane says what is missing
	}
	unlock, err := d.locks.lock(ctx, p.id)
	if err != nil {
		return err
	}
	defer unlock()
	// Nothing is made that could not be shown: a guest never waits for an endpoint.
	_, there, err := d.device(ctx, p.id)
	if err != nil {
		return err
	}
	if err := d.pluggable(p); err != nil {
		return err
	}
	if there {
		if err := d.dropStranded(ctx, p, l); err != nil {
			return err
		}
	}
	first := *step
	first.Adopt = false
	err = d.inner(ctx, first)
	made := err == nil
	if errors.Is(err, errdefs.AlreadyExists) && step.Adopt {
		err = d.inner(ctx, *step)
	}
	if err != nil {
		return err
	}
	err = d.seated(ctx, p)
	if err == nil || !made || errors.Is(err, errdefs.OutcomeUnknown) {
		return err
	}
	return d.rollBack(ctx, l, err)
}

// dropStranded unplugs a device whose endpoint is not there.
func (d *Driver) dropStranded(ctx context.Context, p part, l *driver.Listener) error {
	o, err := d.cfg.Inner.Look(ctx, []driver.Key{l.Key()})
	if err != nil {
		return fmt.Errorf("look for the endpoint of %s: %w", p.what, err)
	}
	if o.Objects[l.Key()] != nil {
		return nil
	}
	_, err = d.unplug(ctx, p.id, p.what+", which has lost its data plane")
	return err
}

// updateNvme adds the half that is missing: the device.
func (d *Driver) updateNvme(ctx context.Context, l *driver.Listener) error {
	return d.createNvme(ctx, &driver.Step{Op: driver.Create, Object: l, Adopt: true}, l)
}

// left waits until QEMU has closed its connection to an endpoint, which it does a moment after it has told
// that the device is gone: one that is cut off at that moment aborts, and the guest with it.
func (d *Driver) left(ctx context.Context, l *driver.Listener) error {
	counter, ok := d.cfg.Inner.(driver.HostCounter)
	for ok && !d.look().gone {
		hosts, err := counter.ConnectedHosts(ctx, l.Subsystem)
		switch {
		case errors.Is(err, errdefs.NotFound) || err == nil && hosts[l.Key()] == 0:
			return nil
		case err != nil:
			return fmt.Errorf("look whether QEMU has left the endpoint: %w", err)
		}
		if pause(ctx, lookPause) != nil {
			return errdefs.New(errdefs.FailedPrecondition,
				"PCIe endpoint %s of subsystem %s: a host is connected to it, and may not survive that it goes", l.Address.Traddr, l.Subsystem)
		}
	}
	return nil
}

// deleteNvme unplugs the device, then deletes the endpoint.
func (d *Driver) deleteNvme(ctx context.Context, l *driver.Listener) error {
	id := nvmeID(l)
	unlock, err := d.locks.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := d.unplug(ctx, id, "NVMe controller at PCIe function "+l.Address.Traddr); err != nil {
		return err
	}
	return d.release(ctx, l, false)
}
