// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/qmp"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestUnplugged has somebody unplug a device of the bridge's from a QEMU, by another monitor: it is plugged
// again, where it was, counted and shown. QEMU's processors never start, so its guest lets go of devices
// when it is reset.
func TestUnplugged(t *testing.T) {
	vhosts, dir := testkit.SocketDir(t), testkit.SocketDir(t)
	ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
	testkit.Command(t, "install Debian's qemu-system-x86", "qemu-system-x86_64",
		"-nodefaults", "-no-user-config", "-display", "none", "-S", "-m", "32M",
		"-machine", "pc,accel=tcg,memory-backend=memory", "-object", "memory-backend-memfd,id=memory,share=on,size=32M",
		"-device", "pci-bridge,id=pci.opi.0,chassis_nr=1",
		"-qmp", "unix:"+ours+",server=on,wait=off", "-qmp", "unix:"+theirs+",server=on,wait=off")
	monitor := otherMonitor(t, theirs)
	r := newRigAt(t, vhosts, "--driver", "kvm", "--qmp", "unix://"+ours, "--vhost-dir", vhosts, "--pci-buses", "pci.opi.0", "--audit-interval", "1s")
	r.mustCreate("nullVolumes/nul-1", volume(1))
	r.mustCreate("nullVolumes/nul-2", volume(2))
	const unplugged, other = "virtioBlks/blk-1", "virtioBlks/blk-2"
	function := `{"pcie_id":{"port_id":0,"physical_function":0,"virtual_function":%d},"volume_name_ref":"nullVolumes/nul-%d"}`
	r.mustCreate(unplugged, fmt.Sprintf(function, 3, 1))
	r.mustCreate(other, fmt.Sprintf(function, 5, 2))
	testkit.Eventually(t, "everything is made", r.whole)
	at := monitor.slot(t, "opi-blk-1")
	monitor.do(t, "device_add", map[string]any{"driver": "virtio-rng-pci", "id": "hand", "bus": "pci.opi.0", "addr": "0x9"}, nil)

	monitor.do(t, "device_del", map[string]any{"id": "opi-blk-1"}, nil)
	testkit.Eventually(t, "the device is plugged again, counted and shown", func() error {
		monitor.do(t, "system_reset", nil, nil)
		s, err := r.resource(unplugged)
		if err == nil && (s.GetRepairCount() == 0 || s.GetLastRepair() == "" || s.GetLastRepairTime() == nil) {
			err = fmt.Errorf("it was not repaired: %v", s)
		}
		return errors.Join(err, r.whole())
	})
	if back := monitor.slot(t, "opi-blk-1"); back != at {
		t.Errorf("the device was at %s, and is at %s", at, back)
	}
	if s, err := r.resource(other); err != nil || s.GetRepairCount() > 0 {
		t.Errorf("a device that nobody touched: %v, %v", s, err)
	}
	monitor.slot(t, "hand") // somebody else's is left where it is
	s, err := r.status()
	r.must(err)
	metrics, err := r.metrics()
	r.must(err)
	n := s.GetDriftRepaired()[string(driver.TypeVirtioBlk)]
	if counted := metrics[fmt.Sprintf("opi_bridge_drift_repaired_total{type=%q}", driver.TypeVirtioBlk)]; n == 0 || counted != float64(n) {
		t.Errorf("the status counts %d repairs, the metrics %v", n, counted)
	}
}

// otherHand is somebody's hand on a QEMU.
type otherHand struct{ *qmp.Client }

func otherMonitor(t *testing.T, socket string) otherHand {
	t.Helper()
	c, err := qmp.New(qmp.Config{Network: "unix", Address: socket, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	testkit.Eventually(t, "QEMU answers", func() error { return c.Execute(t.Context(), "query-status", nil, nil) })
	return otherHand{c}
}

func (h otherHand) do(t *testing.T, command string, arguments, result any) {
	t.Helper()
	if err := h.Execute(t.Context(), command, arguments, result); err != nil {
		t.Fatalf("%s %v: %v", command, arguments, err)
	}
}

// slot returns where a device sits.
func (h otherHand) slot(t *testing.T, id string) string {
	t.Helper()
	var bus, slot string
	for property, value := range map[string]*string{"parent_bus": &bus, "legacy-addr": &slot} {
		h.do(t, "qom-get", map[string]any{"path": "/machine/peripheral/" + id, "property": property}, value)
	}
	return bus + " " + slot
}
