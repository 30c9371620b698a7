// SPDX-License-Identifier: Apache-2.0

package kvm_test

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/kvm"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestADeviceTellsWhatItWasMadeFor has devices of whose ids only the last but one is a driver's.
func TestADeviceTellsWhatItWasMadeFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for slot, id := range []string{
		"opi.nvme.0.0", "opi.nvme.0.0.x.nqn", "opi.nvme.0.0.99999999999.nqn", "opi.nvme.0.00.4.nqn", "opi.nvme.0.0.4.a_zzb",
		"opi.nvme.0.0.4.a_3Ab", "opi.nvme.1.2.3.a_3ab_5f", "opi.nvme.",
	} {
		r.vm.do("device_add", map[string]any{"driver": "virtio-rng-pci", "id": id, "bus": "pci.opi.1", "addr": strconv.Itoa(slot + 1)}, nil)
	}
	want := &driver.Listener{
		Subsystem: "a:b_", Address: driver.Address{Transport: driver.TransportPCIe, Traddr: "1.2.3"},
		PCI: &driver.PCIAddress{Port: 1, Physical: 2, Virtual: 3}, Lacks: driver.LacksBackEnd,
	}
	there := r.observe()
	if got := there[want.Key()]; len(there) != 1 || !reflect.DeepEqual(got, driver.Object(want)) {
		t.Errorf("seen is %+v", there)
	}
}

// TestNVMeControllersStayInARunningGuest is about the QEMUs that abort when one is unplugged. Debian 12's has
// no such device: one of another model has its name.
func TestNVMeControllersStayInARunningGuest(t *testing.T) {
	t.Parallel()
	const id = "opi.nvme.0.0.4.nqn.2026-01.org.example_3as"
	for _, may := range []bool{false, true} {
		r := newRig(t, func(c *kvm.Config) { c.VfioUserDir, c.UnplugNvme = t.TempDir(), may })
		l := &driver.Listener{
			Subsystem: "nqn.2026-01.org.example:s", PCI: &driver.PCIAddress{Virtual: 4},
			Address: driver.Address{Transport: driver.TransportPCIe, Traddr: "0.0.4"},
		}
		r.vm.do("device_add", map[string]any{"driver": "virtio-rng-pci", "id": id, "bus": "pci.opi.0", "addr": "4"}, nil)
		have, ok := r.observe()[l.Key()].(*driver.Listener)
		if !ok || have.Lacks != driver.LacksBackEnd || *have.PCI != *l.PCI {
			t.Errorf("what is seen of it is %+v", have)
		}
		if may {
			r.vm.letGo()
			r.remove(l)
			r.vm.sits(id, "")
			continue
		}
		r.refused(errdefs.FailedPrecondition, step(driver.Delete, l), "0.0.4", "switched off", "--unplug-nvme")
		r.vm.sits(id, "pci.opi.0 04.0")
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
