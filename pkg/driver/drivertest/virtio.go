// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"errors"
	"slices"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// round makes everything, twice, and takes it away, twice.
func (b *bench) round(all ...driver.Object) {
	b.t.Helper()
	for _, o := range all {
		b.must(driver.Create, o)
	}
	b.serves(all...)
	for _, o := range all {
		b.refused(errdefs.AlreadyExists, driver.Step{Op: driver.Create, Object: o}, o.Key().String())
		if err := b.apply(driver.Step{Op: driver.Create, Object: o, Adopt: true})[0]; err != nil {
			b.t.Errorf("adopt %s: %v", o.Key(), err)
		}
	}
	b.serves(all...)
	for _, o := range slices.Backward(all) {
		b.must(driver.Delete, o)
		b.must(driver.Delete, o)
	}
	b.lacks(all...)
}

// testVirtioBlk makes virtio-blk devices, changes what is behind them, and restarts the data plane.
func testVirtioBlk(t *testing.T, s Suite) {
	b := s.bench(t)
	m, n := malloc("m"), null("n")
	dev := &driver.VirtioBlk{Name: "blk0", Bdev: m.Name, PCI: driver.PCIAddress{Physical: 3}}
	b.round(m, dev, n, &driver.VirtioBlk{Name: "blk1", Bdev: n.Name})

	all := []driver.Object{m, n, dev}
	for _, o := range all {
		b.must(driver.Create, o)
	}
	moved := &driver.VirtioBlk{Name: dev.Name, Bdev: n.Name}
	if d := moved.Differences(b.observe()[dev.Key()]); len(d) != 1 || moved.Remedy(d) != driver.RemedyReplace {
		t.Errorf("another volume: %v", d)
	}
	if err := b.apply(driver.Step{Op: driver.Update, Object: moved, From: dev})[0]; !errors.Is(err, driver.ErrNotInPlace) {
		t.Errorf("in place: %v", err)
	}
	// The volume goes, by whatever cause: the device is there without one, and is replaced.
	b.must(driver.Delete, m)
	got, ok := b.observe()[dev.Key()].(*driver.VirtioBlk)
	if !ok || got.Bdev != "" || len(dev.Differences(got)) != 1 {
		t.Errorf("a device whose volume has gone: %+v", got)
	}
	errs := b.apply(
		driver.Step{Op: driver.Create, Object: m},
		driver.Step{Op: driver.Delete, Object: got},
		driver.Step{Op: driver.Create, Object: dev, After: []int{0, 1}},
	)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	b.serves(all...)
	b.restart()
	b.lacks(all...)
	for _, o := range all {
		b.must(driver.Create, o)
	}
	b.serves(all...)
}

// testVirtioScsi fills the slots of a controller.
func testVirtioScsi(t *testing.T, s Suite) {
	b := s.bench(t)
	ctrl := &driver.VirtioScsi{Name: "scsi0"}
	socket := &driver.VirtioScsiSocket{Controller: ctrl.Name}
	b.refused(errdefs.NotFound, driver.Step{Op: driver.Create, Object: socket}, ctrl.Name)
	all := []driver.Object{ctrl}
	for slot := range uint32(driver.MaxVirtioScsiTargets) {
		m := malloc("m" + string(rune('0'+slot)))
		all = append(all, m, &driver.VirtioScsiTarget{Controller: ctrl.Name, Slot: slot, Bdev: m.Name})
	}
	b.round(all...)
	all = append(all, socket)
	b.round(all...)
	for _, o := range all {
		b.must(driver.Create, o)
	}
	// A volume goes with its slot; a controller goes with all slots.
	b.must(driver.Delete, all[1])
	b.eventually("the slot is empty", func() bool {
		there := b.observe()[all[2].Key()]
		return there == nil || len(all[2].Differences(there)) > 0
	})
	b.must(driver.Delete, all[2])
	b.must(driver.Create, all[1])
	b.must(driver.Create, all[2])
	b.serves(all...)
	b.must(driver.Delete, ctrl)
	b.lacks(ctrl, socket, all[2], all[4])
	b.must(driver.Delete, all[2])
	b.serves(all[1], all[3])
	// One that hosts cannot reach yet keeps being there without its last volume, and is let in then.
	b.must(driver.Create, ctrl)
	b.must(driver.Create, all[2])
	b.must(driver.Delete, all[2])
	b.serves(ctrl)
	b.lacks(socket)
	b.must(driver.Create, socket)
	b.serves(ctrl, socket)
	b.refused(errdefs.NotFound, driver.Step{Op: driver.Create, Object: &driver.VirtioScsiSocket{Controller: "nosuch"}}, "nosuch")
}

// testVirtioRefusals makes what cannot be made.
func testVirtioRefusals(t *testing.T, s Suite) {
	b := s.bench(t)
	create := func(o driver.Object) driver.Step { return driver.Step{Op: driver.Create, Object: o, Adopt: true} }
	m, used, sub := malloc("m"), malloc("used"), subsystem("s")
	blk, scsi := &driver.VirtioBlk{Name: "blk", Bdev: m.Name}, &driver.VirtioScsi{Name: "scsi"}
	target := &driver.VirtioScsiTarget{Controller: scsi.Name, Slot: 2, Bdev: m.Name}
	for _, o := range []driver.Object{m, used, sub, namespace(sub, 4, used), blk, scsi, target} {
		b.must(driver.Create, o)
	}
	b.refused(errdefs.NotFound, create(&driver.VirtioBlk{Name: "x", Bdev: "nosuch"}), "x", "nosuch")
	b.refused(errdefs.FailedPrecondition, create(&driver.VirtioBlk{Name: "x", Bdev: used.Name}), "used", "namespace 4")
	b.refused(errdefs.AlreadyExists, create(&driver.VirtioBlk{Name: "blk", Bdev: used.Name}), "blk", "bdev")
	b.refused(errdefs.AlreadyExists, create(&driver.VirtioBlk{Name: "scsi", Bdev: m.Name}), "scsi")
	b.refused(errdefs.AlreadyExists, create(&driver.VirtioScsi{Name: "blk"}), "blk")
	slash := &driver.VirtioScsi{Name: "no/slash"}
	if err := b.do(driver.Create, slash); err == nil {
		b.refused(errdefs.FailedPrecondition, create(&driver.VirtioScsiSocket{Controller: slash.Name}), slash.Name)
		b.must(driver.Delete, slash)
	} else if !errors.Is(err, errdefs.FailedPrecondition) {
		t.Errorf("a controller of an impossible name: %v", err)
	}
	b.refused(errdefs.NotFound, create(&driver.VirtioScsiSocket{Controller: "blk"}), "blk")
	b.refused(errdefs.FailedPrecondition, create(&driver.VirtioBlk{Name: "no/slash", Bdev: m.Name}), "no/slash")

	b.refused(errdefs.NotFound, create(&driver.VirtioScsiTarget{Controller: "nosuch", Bdev: m.Name}), "nosuch")
	b.refused(errdefs.NotFound, create(&driver.VirtioScsiTarget{Controller: "blk", Bdev: m.Name}), "blk")
	b.refused(errdefs.NotFound, create(&driver.VirtioScsiTarget{Controller: "scsi", Slot: 3, Bdev: "nosuch"}), "nosuch")
	b.refused(errdefs.FailedPrecondition, create(&driver.VirtioScsiTarget{Controller: "scsi", Slot: 3, Bdev: used.Name}), "used", "namespace 4")
	b.refused(errdefs.InvalidArgument, create(&driver.VirtioScsiTarget{Controller: "scsi", Slot: 8, Bdev: m.Name}), "8", "7")
	b.refused(errdefs.AlreadyExists, create(&driver.VirtioScsiTarget{Controller: "scsi", Slot: 2, Bdev: used.Name}), "bdev")
	// One of another sort is not deleted by mistake.
	b.must(driver.Delete, &driver.VirtioBlk{Name: "scsi"})
	b.must(driver.Delete, &driver.VirtioScsi{Name: "blk"})
	b.serves(blk, scsi, target)
}

// testVirtioPlugged deletes a device that a VM is connected to: SPDK would not answer.
func testVirtioPlugged(t *testing.T, s Suite) {
	b := s.bench(t)
	m := malloc("m")
	dev := &driver.VirtioBlk{Name: "blk", Bdev: m.Name}
	b.must(driver.Create, m)
	b.must(driver.Create, dev)
	unplug := b.Plug(t, dev.Name)
	b.refused(errdefs.FailedPrecondition, driver.Step{Op: driver.Delete, Object: dev}, dev.Key().String(), "unplug")
	b.serves(dev)
	unplug()
	b.eventually("it can be deleted", func() bool { return b.do(driver.Delete, dev) == nil })
	b.lacks(dev)
}
