// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// busName is what the id of a bus may be: QEMU's rule for identifiers.
var busName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)

// CheckBuses returns what is wrong with a list of buses, InvalidArgument.
func CheckBuses(buses []string) error {
	if len(buses) == 0 {
		return errdefs.New(errdefs.InvalidArgument, "the ids of the PCI buses for devices are missing, such as pci.opi.0,pci.opi.1")
	}
	for i, bus := range buses {
		if !busName.MatchString(bus) {
			return errdefs.New(errdefs.InvalidArgument, "%q is no id of a bus: letters, digits, '.', '_' and '-', beginning with a letter", bus)
		}
		if slices.Contains(buses[:i], bus) {
			return errdefs.New(errdefs.InvalidArgument, "bus %s stands there twice", bus)
		}
	}
	return nil
}

// seat is where a device sits in QEMU.
type seat struct {
	bus  string
	slot int64
}

func (s seat) String() string { return fmt.Sprintf("bus %s, slot %d", s.bus, s.slot) }

// seat returns where a function is plugged: ports are the buses in their order, and the functions that
// one has no room for run on into the next. Field is what a refusal names.
func (d *Driver) seat(field string, p driver.PCIAddress) (seat, error) {
	n := p.Seat()
	if p.Port < 0 || p.Physical < 0 || p.Virtual < 0 || n >= driver.SeatsPerPort*int64(len(d.cfg.Buses)) {
		return seat{}, errdefs.InvalidField(field,
			"port %d, physical function %d, virtual function %d: there are %d buses (%s) of %d functions each; %d × port + physical + virtual must be 0 to %d",
			p.Port, p.Physical, p.Virtual, len(d.cfg.Buses), strings.Join(d.cfg.Buses, ", "), driver.SeatsPerPort, driver.SeatsPerPort,
			driver.SeatsPerPort*len(d.cfg.Buses)-1)
	}
	return seat{bus: d.cfg.Buses[n/driver.SeatsPerPort], slot: n % driver.SeatsPerPort}, nil
}

// address returns which function a device is, by where it sits. On a bus that is none of ours it is none.
func (d *Driver) address(v device) driver.PCIAddress {
	port := slices.Index(d.cfg.Buses, v.bus)
	return driver.PCIAddress{Port: int32(port), Virtual: int32(v.slot & (driver.SeatsPerPort - 1))} //nolint:gosec // both are small
}
