// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// A PCIe endpoint is, with SPDK, a vfio-user one: a directory with a socket in it that a VM monitor
// connects to. Each function has the directory <dir>/<port>.<physical>.<virtual>.

const (
	// transportVfioUser is SPDK's word for the transport.
	transportVfioUser driver.Transport = "VFIOUSER"
	// vfioUserSocket is the socket that SPDK makes in the directory.
	vfioUserSocket = "cntrl"
)

// functionDir returns the directory of a PCIe function.
func (d *Driver) functionDir(p driver.PCIAddress) string {
	return filepath.Join(d.vfioUserDir, fmt.Sprintf("%d.%d.%d", p.Port, p.Physical, p.Virtual))
}

// listenerAddress returns the address of a listener as package driver has it: a vfio-user endpoint of
// ours is the PCIe function, with pci saying which.
func (d *Driver) listenerAddress(l spdkrpc.NvmfListen) (a driver.Address, pci *driver.PCIAddress) {
	a = address(l.Trtype, l.Adrfam, l.Traddr, l.Trsvcid)
	if a.Transport != transportVfioUser || d.vfioUserDir == "" {
		return a, nil
	}
	name, ours := strings.CutPrefix(l.Traddr, d.vfioUserDir+string(filepath.Separator))
	var p driver.PCIAddress
	if !ours {
		return a, nil
	}
	if _, err := fmt.Sscanf(name, "%d.%d.%d", &p.Port, &p.Physical, &p.Virtual); err != nil || d.functionDir(p) != l.Traddr {
		return a, nil
	}
	return driver.Address{Transport: driver.TransportPCIe, Traddr: name}, &p
}

// function returns which function a PCIe listener is, by its address if it does not say.
func (d *Driver) function(l *driver.Listener) (driver.PCIAddress, error) {
	var p driver.PCIAddress
	_, err := fmt.Sscanf(l.Address.Traddr, "%d.%d.%d", &p.Port, &p.Physical, &p.Virtual)
	if err != nil || filepath.Base(d.functionDir(p)) != l.Address.Traddr || l.PCI != nil && *l.PCI != p {
		return p, errdefs.New(errdefs.InvalidArgument,
			"PCIe endpoint %q: must be <port>.<physical function>.<virtual function>", l.Address.Traddr)
	}
	return p, nil
}

// createEndpoint makes a PCIe endpoint. TLS has no meaning there: nothing goes over a network.
func (d *Driver) createEndpoint(ctx context.Context, step *driver.Step, l *driver.Listener) error {
	p, err := d.function(l)
	if err != nil {
		return err
	}
	if d.vfioUserDir == "" {
		return errdefs.New(errdefs.Unimplemented,
			"PCIe endpoint %s of subsystem %s: SPDK offers these over vfio-user, and no directory for them was given (--vfio-user-dir)",
			l.Address.Traddr, l.Subsystem)
	}
	dir := d.functionDir(p)
	unlock, err := d.hold(ctx, "vfio-user "+dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.ensureTransport(ctx, transportVfioUser); err != nil {
		return err
	}
	there, err := d.listening(ctx, l)
	switch {
	case err != nil:
		return err
	case there != nil && there.Subsystem == l.Subsystem:
		return exists(step, there, addListener, nil)
	case there != nil:
		return errdefs.New(errdefs.FailedPrecondition,
			"PCIe endpoint %s: it is one of subsystem %s already, and a function has one subsystem: delete that first", l.Address.Traddr, there.Subsystem)
	}
	if err := emptyFunctionDir(dir); err != nil {
		return errdefs.Wrap(errdefs.FailedPrecondition, err, "PCIe endpoint %s: directory %s cannot be made ready", l.Address.Traddr, dir)
	}
	if err = d.addEndpoint(ctx, l, dir); err != nil && errdefs.ClassOf(err) != errdefs.OutcomeUnknown {
		_ = os.Remove(dir) // it goes if it is empty
	}
	return err
}

// addEndpoint has SPDK listen in a directory that is ready.
func (d *Driver) addEndpoint(ctx context.Context, l *driver.Listener, dir string) error {
	err := spdkrpc.NvmfAddListener{NQN: l.Subsystem, ListenAddress: vfioUserAddress(dir)}.Do(ctx, d.client)
	if err == nil {
		return nil
	}
	if settled(err) {
		return plain(addListener, err, "show subsystem %s at PCIe endpoint %s", l.Subsystem, l.Address.Traddr)
	}
	if _, _, lookErr := d.within(ctx, l.Subsystem, l.Key(), addListener, err); lookErr != nil {
		return lookErr
	}
	return refuse(errdefs.FailedPrecondition, addListener, err,
		"PCIe endpoint %s of subsystem %s: the data plane at %s cannot use directory %s: it must see it under the same path and may write there, and the path may have some 100 characters",
		l.Address.Traddr, l.Subsystem, d.where, dir)
}

// listening returns the listener at the endpoint of l, of whichever subsystem, or nil.
func (d *Driver) listening(ctx context.Context, l *driver.Listener) (*driver.Listener, error) {
	subsystems, err := spdkrpc.GetNvmfSubsystems(ctx, d.client)
	if err != nil {
		return nil, plain("nvmf_get_subsystems", err, "look for PCIe endpoint %s", l.Address.Traddr)
	}
	for i := range subsystems {
		for _, o := range d.subsystemObjects(&subsystems[i]) {
			if other, ok := o.(*driver.Listener); ok && other.Address == l.Address {
				return other, nil
			}
		}
	}
	return nil, nil //nolint:nilnil // to find nothing is no failure
}

// vfioUserAddress returns the address of an endpoint. It has no family: SPDK would fail, and could
// not use the directory again.
func vfioUserAddress(dir string) spdkrpc.NvmfListen {
	return spdkrpc.NvmfListen{Trtype: string(transportVfioUser), Traddr: dir}
}

// emptyFunctionDir makes the directory if it is missing, and takes the socket out of it that an SPDK
// which was killed has left: SPDK would not replace it.
func emptyFunctionDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, vfioUserSocket)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d *Driver) deleteEndpoint(ctx context.Context, l *driver.Listener) error {
	p, err := d.function(l)
	if err != nil {
		return err
	}
	if d.vfioUserDir == "" {
		return nil // nothing was ever made there, and nothing is observed
	}
	dir := d.functionDir(p)
	unlock, err := d.hold(ctx, "vfio-user "+dir)
	if err != nil {
		return err
	}
	defer unlock()
	err = spdkrpc.NvmfRemoveListener{NQN: l.Subsystem, ListenAddress: vfioUserAddress(dir)}.Do(ctx, d.client)
	if err = d.gone(ctx, l.Subsystem, l.Key(), "nvmf_subsystem_remove_listener", err); err == nil {
		_ = os.Remove(dir) // tidiness only: it goes if it is empty
	}
	return err
}
