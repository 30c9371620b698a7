// SPDX-License-Identifier: Apache-2.0

package kvm_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/kvm"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestNVMeControllersStayInARunningGuest is about the QEMUs that abort when one is unplugged. Debian 12's has
// no such device: one of another model has its name.
func TestNVMeControllersStayInARunningGuest(t *testing.T) {
	t.Parallel()
	for _, may := range []bool{false, true} {
		r := newRig(t, func(c *kvm.Config) { c.VfioUserDir, c.UnplugNvme = t.TempDir(), may })
		l := &driver.Listener{
			Subsystem: "nqn.2026-01.org.example:s", PCI: &driver.PCIAddress{Virtual: 4},
			Address: driver.Address{Transport: driver.TransportPCIe, Traddr: "0.0.4"},
		}
		r.vm.do("device_add", map[string]any{"driver": "virtio-rng-pci", "id": "opi.nvme.0.0.4", "bus": "pci.opi.0", "addr": "4"}, nil)
		if may {
			r.vm.letGo()
			r.remove(l)
			r.vm.sits("opi.nvme.0.0.4", "")
			continue
		}
		r.refused(errdefs.FailedPrecondition, step(driver.Delete, l), "0.0.4", "switched off", "--unplug-nvme")
		r.vm.sits("opi.nvme.0.0.4", "pci.opi.0 04.0")
		r.vm.process.Kill()
		// The driver hears of it a moment later.
		testkit.Eventually(t, "it is deleted", func() error { return r.do(step(driver.Delete, l)) })
	}
}

func TestVfioUserNeedsAQEMUThatHasIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *kvm.Config) { c.VfioUserDir = t.TempDir() })
	sub := &driver.Subsystem{NQN: "nqn.2026-01.org.example:s", SerialNumber: "1", AllowAnyHost: true}
	r.create(sub)
	l := &driver.Listener{
		Subsystem: sub.NQN, Address: driver.Address{Transport: driver.TransportPCIe, Traddr: "0.0.4"}, PCI: &driver.PCIAddress{Virtual: 4},
	}
	r.refused(errdefs.Unimplemented, step(driver.Create, l), "vfio-user", "10.1")
	if r.observe()[l.Key()] != nil {
		t.Error("half of it is there")
	}
	r.remove(l)
	c, err := r.driver.Capabilities(t.Context())
	must(t, err)
	if !slices.Contains(c.Frontends, driver.FrontendVirtioBlk) || !strings.Contains(c.Version, "QEMU") {
		t.Errorf("%+v", c)
	}
	for _, tr := range c.Transports {
		if tr.Transport == driver.TransportPCIe && (tr.Listen != driver.ReadinessMissing || tr.Reason == "") {
			t.Errorf("%+v", tr)
		}
	}
}
