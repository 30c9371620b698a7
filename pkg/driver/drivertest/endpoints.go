// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// endpoint returns a PCIe endpoint.
func endpoint(s *driver.Subsystem, p driver.PCIAddress, traddr string) *driver.Listener {
	return &driver.Listener{
		Subsystem: s.NQN, Address: driver.Address{Transport: driver.TransportPCIe, Traddr: traddr}, PCI: &p,
	}
}

// testPCIe shows subsystems as PCIe functions, over a data plane that is killed.
func testPCIe(t *testing.T, s Suite) {
	b := s.bench(t)
	one, two := subsystem("one"), subsystem("two")
	first := endpoint(one, driver.PCIAddress{Physical: 1}, "0.1.0")
	second := endpoint(two, driver.PCIAddress{Port: 1, Physical: 2, Virtual: 30}, "1.2.30")
	all := []driver.Object{one, first, two, second}
	b.round(all...)
	for _, o := range all {
		b.must(driver.Create, o)
	}
	if got, ok := b.observe()[second.Key()].(*driver.Listener); !ok || got.PCI == nil || *got.PCI != *second.PCI {
		t.Errorf("the endpoint is observed as %+v", got)
	}
	taken := endpoint(two, *first.PCI, first.Address.Traddr)
	b.refused(errdefs.FailedPrecondition, driver.Step{Op: driver.Create, Object: taken, Adopt: true}, "0.1.0", one.NQN)
	nowhere := endpoint(subsystem("nowhere"), driver.PCIAddress{Physical: 9}, "0.9.0")
	b.refused(errdefs.NotFound, driver.Step{Op: driver.Create, Object: nowhere, Adopt: true}, nowhere.Subsystem)
	for _, odd := range []string{"", "../0.1.0", "0.1", "0.1.0/..", "00.1.0", "0.1.0.0"} {
		b.refused(errdefs.InvalidArgument, driver.Step{Op: driver.Create, Object: endpoint(one, driver.PCIAddress{Physical: 1}, odd)}, odd)
	}
	b.restart()
	for _, o := range all {
		b.must(driver.Create, o)
	}
	b.serves(all...)
}
