// SPDX-License-Identifier: Apache-2.0

package kvm_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/kvm"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func step(op driver.Op, o driver.Object) driver.Step { return driver.Step{Op: op, Object: o} }

func adopt(o driver.Object) driver.Step {
	return driver.Step{Op: driver.Create, Object: o, Adopt: true}
}

func TestDevicesComeAndGo(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	v, w := volume("aa"), volume("bb")
	first := &driver.VirtioBlk{Name: "first", Bdev: v.Name, PCI: driver.PCIAddress{Virtual: 3}, Queues: 3}
	second := &driver.VirtioBlk{Name: "second", Bdev: w.Name, PCI: driver.PCIAddress{Physical: 1, Virtual: 36}}
	third := &driver.VirtioBlk{Name: "third", Bdev: w.Name, PCI: driver.PCIAddress{Port: 1, Physical: 7}}
	r.create(v, w, first, second, third)
	r.vm.sits("opi-first", "pci.opi.0 03.0")
	r.vm.sits("opi-second", "pci.opi.1 05.0")
	r.vm.sits("opi-third", "pci.opi.1 07.0")
	var queues uint32
	r.vm.do("qom-get", map[string]any{"path": "/machine/peripheral/opi-first", "property": "num-queues"}, &queues)
	if queues != first.Queues {
		t.Errorf("the device has %d queues, not %d", queues, first.Queues)
	}
	for _, b := range []*driver.VirtioBlk{first, second, third} {
		if d := b.Differences(r.blk(b.Name)); len(d) > 0 {
			t.Errorf("%s differs in %v", b.Name, d)
		}
		r.refused(errdefs.AlreadyExists, step(driver.Create, b), b.Key().String())
		if err := r.do(adopt(b)); err != nil {
			t.Errorf("adopt: %v", err)
		}
	}
	if c := r.vm.chardevs(); strings.Count(c, "opi-") != 3 || strings.Contains(c, "disconnected") {
		t.Errorf("connections %q", c)
	}
	r.vm.letGo()
	r.remove(first, second, first)
	r.lacks("first")
	r.lacks("second")
	r.vm.sits("opi-third", "pci.opi.1 07.0")

	// All in one batch, with others that have nothing to do with it, and with what fails.
	other, odd := volume("cc"), &driver.VirtioBlk{Name: "odd", Bdev: "nosuch", PCI: driver.PCIAddress{Virtual: 9}}
	errs := r.driver.Apply(t.Context(), []driver.Step{
		step(driver.Create, other),
		{Op: driver.Delete, Object: third},
		{Op: driver.Delete, Object: w, After: []int{1}},
		{Op: driver.Create, Object: first},
		step(driver.Create, odd),
		{Op: driver.Delete, Object: v, After: []int{4}},
		{Op: driver.Create, Object: volume("dd"), After: []int{7}},
		{Op: driver.Delete, Object: other, After: []int{0}},
	})
	for i, want := range []error{nil, nil, nil, nil, errdefs.NotFound, driver.ErrSkipped, errdefs.Internal, nil} {
		if !errors.Is(errs[i], want) {
			t.Errorf("step %d: %v, want %v", i, errs[i], want)
		}
	}
	r.vm.sits("opi-first", "pci.opi.0 03.0")
	r.lacks("third")
	r.lacks("odd")
	if objects := r.observe(); objects[w.Key()] != nil || objects[other.Key()] != nil || objects[v.Key()] == nil {
		t.Error("what hangs on devices, or does not, has not come to its end")
	}
}

// TestManyDevices fills both buses in one batch, and empties them in another.
func TestManyDevices(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	var create, remove []driver.Step
	for i := range int32(2 * driver.SeatsPerPort) {
		v := volume(fmt.Sprintf("%02x", i))
		b := &driver.VirtioBlk{Name: fmt.Sprintf("blk-%d", i), Bdev: v.Name, PCI: driver.PCIAddress{Virtual: i}}
		create = append(create, step(driver.Create, v), driver.Step{Op: driver.Create, Object: b, After: []int{len(create)}})
		remove = append(remove, step(driver.Delete, b), driver.Step{Op: driver.Delete, Object: v, After: []int{len(remove)}})
	}
	began := time.Now()
	must(t, errors.Join(r.driver.Apply(t.Context(), create)...))
	plugged := time.Since(began)
	began = time.Now()
	r.observe()
	first := time.Since(began)
	began = time.Now()
	there := r.observe()
	t.Logf("%d devices plugged in %v, observed in %v, and again in %v", len(create)/2, plugged, first, time.Since(began))
	for _, s := range create {
		if o := there[s.Object.Key()]; o == nil || len(s.Object.Differences(o)) > 0 {
			t.Errorf("%s: %+v", s.Object.Key(), o)
		}
	}
	r.vm.letGo()
	began = time.Now()
	must(t, errors.Join(r.driver.Apply(t.Context(), remove)...))
	t.Logf("unplugged in %v", time.Since(began))
	if len(r.observe()) > 0 || r.vm.chardevs() != "" {
		t.Errorf("left are %v, %s", r.observe(), r.vm.chardevs())
	}
}

func TestAHalfThatIsRefusedTakesTheOtherWithIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *kvm.Config) { c.Buses = append(c.Buses, "pci.opi.7") }, "-device", "virtio-rng-pci,id=other,bus=pci.opi.0,addr=4")
	v := volume("aa")
	r.create(v)
	at := func(p driver.PCIAddress) driver.Step {
		return step(driver.Create, &driver.VirtioBlk{Name: "blk", Bdev: v.Name, PCI: p})
	}
	r.refused(errdefs.FailedPrecondition, at(driver.PCIAddress{Virtual: 4}), "bus pci.opi.0, slot 4", "other")
	r.lacks("blk")
	r.refused(errdefs.FailedPrecondition, at(driver.PCIAddress{Port: 2}), "pci.opi.7")
	r.lacks("blk")
	for _, p := range []driver.PCIAddress{{Virtual: 96}, {Port: 3}, {Port: -1, Virtual: 32}, {Physical: 95, Virtual: 1}} {
		r.refused(errdefs.InvalidArgument, at(p), "pcie_id", "pci.opi.0, pci.opi.1, pci.opi.7")
	}
	r.lacks("blk")
	r.create(at(driver.PCIAddress{Virtual: 5}).Object)
}

func TestQEMUThatDoesNotSeeTheSockets(t *testing.T) {
	t.Parallel()
	elsewhere := t.TempDir()
	r := newRig(t, func(c *kvm.Config) { c.VhostDir = elsewhere })
	v := volume("aa")
	r.create(v)
	r.refused(errdefs.Unavailable, step(driver.Create, &driver.VirtioBlk{Name: "blk", Bdev: v.Name}), filepath.Join(elsewhere, "blk"))
	r.lacks("blk")
}

// TestTheDataPlaneIsRestarted has the guest keep its device, which connects again when its back end is
// there again.
func TestTheDataPlaneIsRestarted(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	v := volume("aa")
	blk := &driver.VirtioBlk{Name: "blk", Bdev: v.Name, PCI: driver.PCIAddress{Virtual: 2}}
	r.create(v, blk)
	r.plane.Restart()
	testkit.Eventually(t, "the data plane is there", func() error { return r.driver.Status().Err })
	half := r.blk("blk")
	if half.Lacks != driver.LacksBackEnd || !slices.Equal(blk.Differences(half), []string{"back_end"}) || blk.Remedy([]string{"back_end"}) != driver.RemedyUpdate {
		t.Fatalf("%+v", half)
	}
	r.create(v)
	must(t, r.mend(blk))
	if d := blk.Differences(r.blk("blk")); len(d) > 0 {
		t.Errorf("differs in %v", d)
	}
	r.vm.sits("opi-blk", "pci.opi.0 02.0")
	testkit.Eventually(t, "QEMU is connected again", func() error {
		if c := r.vm.chardevs(); c != "opi-blk unix" {
			return hung("connections", c)
		}
		return nil
	})

	// The back end goes and the record with it: the device is not forgotten.
	r.plane.Restart()
	testkit.Eventually(t, "the data plane is there", func() error { return r.driver.Status().Err })
	r.vm.letGo()
	r.remove(r.blk("blk"))
	r.lacks("blk")
}

// TestQEMUIsRestarted has devices plugged again; while QEMU is away everything else goes on.
func TestQEMUIsRestarted(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.next(driver.EventUp)
	v, w := volume("aa"), volume("bb")
	blk := &driver.VirtioBlk{Name: "blk", Bdev: v.Name, PCI: driver.PCIAddress{Virtual: 2}}
	old := &driver.VirtioBlk{Name: "old", Bdev: v.Name, PCI: driver.PCIAddress{Virtual: 3}}
	r.create(v, blk, old)
	before := r.driver.Status()
	if !strings.Contains(before.Version, "QEMU ") {
		t.Errorf("version %q", before.Version)
	}
	r.vm.process.Kill()
	r.next(driver.EventChanged)
	if s := r.driver.Status(); !s.Up {
		t.Errorf("status %+v", s)
	}
	r.refused(errdefs.Unavailable, step(driver.Create, &driver.VirtioBlk{Name: "new", Bdev: v.Name}), "QEMU", r.vm.socket)
	r.create(w)
	testkit.Eventually(t, "a device of a QEMU that is no more can be deleted", func() error { return r.do(step(driver.Delete, old)) })
	if half := r.blk("blk"); half.Lacks != driver.LacksHostDevice {
		t.Errorf("%+v", half)
	}
	r.refused(errdefs.Unavailable, driver.Step{Op: driver.Update, Object: blk, From: r.blk("blk")}, "QEMU")

	r.vm.start()
	r.next(driver.EventUp)
	if s := r.driver.Status(); s.Epoch <= before.Epoch {
		t.Errorf("epoch %d after %d", s.Epoch, before.Epoch)
	}
	r.vm.awake()
	half := r.blk("blk")
	if d := blk.Differences(half); !slices.Equal(d, []string{"host_device"}) || blk.Remedy(d) != driver.RemedyUpdate {
		t.Fatalf("%+v differs in %v", half, d)
	}
	must(t, r.mend(blk))
	r.vm.sits("opi-blk", "pci.opi.0 02.0")
	r.lacks("old")
	r.lacks("new")
}

// TestAGuestThatDoesNotLetGo keeps both halves until it does.
func TestAGuestThatDoesNotLetGo(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *kvm.Config) { c.UnplugTime = 200 * time.Millisecond })
	v := volume("aa")
	blk := &driver.VirtioBlk{Name: "blk", Bdev: v.Name}
	r.create(v, blk)
	for range 2 { // the second time QEMU will not even ask
		r.refused(errdefs.OutcomeUnknown, step(driver.Delete, blk), "blk", "prelaunch", "has not let go")
	}
	if d := blk.Differences(r.blk("blk")); len(d) > 0 {
		t.Errorf("differs in %v", d)
	}
	r.vm.letGo()
	testkit.Eventually(t, "the guest has let go", func() error { return r.do(step(driver.Delete, blk)) })
	r.lacks("blk")
}

// TestQEMUStandsStill has it wait for a back end that is not there: it does nothing else.
func TestQEMUStandsStill(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *kvm.Config) { c.AnswerTime = time.Second })
	v := volume("aa")
	blk := &driver.VirtioBlk{Name: "blk", Bdev: v.Name, PCI: driver.PCIAddress{Virtual: 2}}
	r.create(v, blk)
	r.blk("blk")
	waits := filepath.Join(t.TempDir(), "nobody")
	r.vm.connects("waits", waits)
	if err := r.vm.try("device_add", map[string]any{"driver": "vhost-user-blk-pci", "id": "waits", "chardev": "waits", "bus": "pci.opi.1", "addr": "0x1"}, nil); !errors.Is(err, errdefs.OutcomeUnknown) {
		t.Fatalf("QEMU does not stand still: %v", err)
	}
	if d := blk.Differences(r.blk("blk")); len(d) > 0 {
		t.Errorf("what was known is forgotten: %v", d)
	}
	r.create(volume("bb"))
	r.refused(errdefs.Unavailable, step(driver.Create, &driver.VirtioBlk{Name: "new", Bdev: v.Name}), "QEMU")
	r.refused(errdefs.Unavailable, step(driver.Delete, blk), "QEMU")
	// A back end that the data plane has forgotten is made whatever QEMU does: that may wait for it.
	r.plane.Restart()
	testkit.Eventually(t, "the data plane is there", func() error { return r.driver.Status().Err })
	r.create(v)
	if err := r.mend(blk); !errors.Is(err, errdefs.Unavailable) {
		t.Errorf("%v", err)
	}
	if half := r.blk("blk"); half.Lacks != driver.LacksNothing || half.Bdev != v.Name {
		t.Errorf("%+v", half)
	}
}

// TestDevicesThatAreNotWhereTheyShould stay where they are, for the host uses them.
func TestDevicesThatAreNotWhereTheyShould(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	v := volume("aa")
	blk := &driver.VirtioBlk{Name: "blk", Bdev: v.Name, PCI: driver.PCIAddress{Virtual: 2}}
	r.create(v, blk)
	moved := *blk
	moved.PCI.Port = 1
	if d := moved.Differences(r.blk("blk")); !slices.Equal(d, []string{"pci_address"}) || moved.Remedy(d) != driver.RemedyUpdate {
		t.Errorf("differs in %v", d)
	}
	if err := r.mend(&moved); !errors.Is(err, errdefs.FailedPrecondition) || !strings.Contains(err.Error(), "bus pci.opi.0, slot 2") {
		t.Errorf("%v", err)
	}
	r.vm.sits("opi-blk", "pci.opi.0 02.0")

	// One that is unplugged and plugged elsewhere by hand is seen where it is.
	r.vm.do("device_add", map[string]any{"driver": "virtio-rng-pci", "id": "opi-hand", "bus": "pci.opi.0", "addr": "0x8"}, nil)
	if b := r.blk("hand"); b.PCI.Seat() != 8 {
		t.Errorf("%+v", b)
	}
	r.vm.do("device_del", map[string]any{"id": "opi-hand"}, nil)
	r.vm.do("system_reset", nil, nil)
	r.vm.do("device_add", map[string]any{"driver": "virtio-rng-pci", "id": "opi-hand", "bus": "pci.opi.1", "addr": "0x8"}, nil)
	testkit.Eventually(t, "it is seen where it is", func() error { // QEMU tells late that the first has gone
		if b := r.blk("hand"); b.PCI.Seat() != 40 || b.Lacks != driver.LacksBackEnd {
			return hung("device", *b)
		}
		return nil
	})

	// A device of our name that somebody else has plugged is shown, and not taken for the one.
	r.vm.do("device_add", map[string]any{"driver": "virtio-rng-pci", "id": "opi-foreign", "bus": "pci.opi.1", "addr": "0x9"}, nil)
	foreign := &driver.VirtioBlk{Name: "foreign", Bdev: v.Name, PCI: driver.PCIAddress{Port: 1, Virtual: 9}}
	r.refused(errdefs.AlreadyExists, step(driver.Create, foreign), "virtio-rng-pci")
	r.refused(errdefs.FailedPrecondition, adopt(foreign), "virtio-rng-pci")
}

// TestAConnectionThatIsLeftOver is what a bridge leaves that dies between two commands.
func TestAConnectionThatIsLeftOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	v := volume("aa")
	r.create(v)
	r.vm.connects("opi-blk", "/nowhere")
	blk := &driver.VirtioBlk{Name: "blk", Bdev: v.Name}
	r.create(blk)
	if c := r.vm.chardevs(); c != "opi-blk unix" {
		t.Errorf("connections %q", c)
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, buses := range [][]string{nil, {""}, {"pci.opi.0", "pci.opi.0"}, {"a bus"}, {"0pci"}} {
		_, err := kvm.New(kvm.Config{
			Inner: r.driver, Network: "unix", Address: "/x", VhostDir: "/x", Buses: buses, Log: logger(t),
		})
		if !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("buses %q: %v", buses, err)
		}
	}
	if _, err := kvm.New(kvm.Config{Inner: r.driver, Network: "unix", Address: "/x", Buses: []string{"a"}, Log: logger(t)}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("no directory: %v", err)
	}
}
