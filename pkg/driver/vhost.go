// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"slices"
	"strconv"
)

// The virtio object types.
const (
	// TypeVirtioBlk is a virtio-blk device that a host sees.
	TypeVirtioBlk Type = "virtio_blk"
	// TypeVirtioScsi is a virtio-scsi controller that a host sees.
	TypeVirtioScsi Type = "virtio_scsi"
	// TypeVirtioScsiTarget is a volume in one of the slots of a virtio-scsi controller.
	TypeVirtioScsiTarget Type = "virtio_scsi_target"
	// TypeVirtioScsiSocket is what a host reaches a virtio-scsi controller through.
	TypeVirtioScsiSocket Type = "virtio_scsi_socket"
)

// MaxVirtioScsiTargets is the number of slots of a virtio-scsi controller (SPDK's vhost-scsi).
const MaxVirtioScsiTargets = 8

// VirtioBlk is a virtio-blk device: with SPDK a vhost-user-blk controller.
type VirtioBlk struct {
	// Name is the device's name, unique among virtio-blk and virtio-scsi controllers.
	Name string
	// Bdev is the name of the bdev behind it; observed as "" when that has gone.
	Bdev string
	// PCI is where the host sees it. Drivers whose devices do not appear by themselves ignore it.
	PCI PCIAddress
	// Shown is wanted only: how large hosts know the disk to be.
	Shown Extent
	// Queues is how many request queues the host has to it, 0 for as many as it likes. Who serves a device
	// cannot say; a driver that does not make the host's side refuses any number. No data plane tells.
	Queues uint32

	// Lacks is observed only: which half of the device is missing, by drivers that make it of two.
	// While LacksBackEnd, Bdev says nothing.
	Lacks Lack
	// Placed is observed only: PCI is where the host really sees it. Most drivers do not tell.
	Placed bool
}

// Lack says which half is missing of what a host sees, where what serves it and what appears in the
// host are made one by one.
type Lack string

// The lacks.
const (
	// LacksNothing: both halves are there.
	LacksNothing Lack = ""
	// LacksBackEnd: the host has a device that nothing serves at the moment.
	LacksBackEnd Lack = "back_end"
	// LacksHostDevice: it is served, and the host does not see it.
	LacksHostDevice Lack = "host_device"
)

// PCIAddress says where on its PCIe ports a card shows a function.
type PCIAddress struct {
	// Port, Physical and Virtual are the numbers of port, physical and virtual function.
	Port, Physical, Virtual int32
}

// SeatsPerPort is the number of seats of a port: a PCI bus has 32 devices (PCI Local Bus Specification
// 3.0, section 3.2.2.3.4).
const SeatsPerPort = 32

// Seat returns the number of the function where all functions stand in one row, from 0: those of a port
// after those of the ports before it, virtual functions after their physical one as SR-IOV counts
// them with offset and stride 1. Functions that a port has no room for run on into the next.
func (a PCIAddress) Seat() int64 {
	return SeatsPerPort*int64(a.Port) + int64(a.Physical) + int64(a.Virtual)
}

// VirtioBlkKey returns the key of the device with that name.
func VirtioBlkKey(name string) Key { return Key{TypeVirtioBlk, name} }

// Key implements [Object].
func (b *VirtioBlk) Key() Key { return VirtioBlkKey(b.Name) }

// Needs implements [Object].
func (b *VirtioBlk) Needs() []Key { return []Key{BdevKey(b.Bdev)} }

// Differences implements [Object].
func (b *VirtioBlk) Differences(observed Object) []string {
	o, ok := observed.(*VirtioBlk)
	if !ok {
		return []string{"type"}
	}
	var d differ
	d.check("bdev", o.Lacks == LacksBackEnd || b.Bdev == o.Bdev)
	d.check(string(o.Lacks), o.Lacks == LacksNothing)
	d.check("pci_address", !o.Placed || b.PCI.Seat() == o.PCI.Seat())
	return d.found
}

// Remedy implements [Object]: a half that is missing can be added. A device that the host sees is not
// taken away for sitting in the wrong place: the update says what is wrong.
func (b *VirtioBlk) Remedy(differences []string) Remedy {
	if slices.Contains(differences, "bdev") || slices.Contains(differences, "type") {
		return RemedyReplace
	}
	return RemedyUpdate
}

// VirtioScsi is a virtio-scsi controller: with SPDK a vhost-user-scsi controller.
type VirtioScsi struct {
	// Name is the controller's name, unique among virtio-blk and virtio-scsi controllers.
	Name string
	// PCI is where the host sees it, as for VirtioBlk.
	PCI PCIAddress
}

// VirtioScsiKey returns the key of the controller with that name.
func VirtioScsiKey(name string) Key { return Key{TypeVirtioScsi, name} }

// Key implements [Object].
func (s *VirtioScsi) Key() Key { return VirtioScsiKey(s.Name) }

// Needs implements [Object].
func (s *VirtioScsi) Needs() []Key { return nil }

// Differences implements [Object].
func (s *VirtioScsi) Differences(observed Object) []string {
	if _, ok := observed.(*VirtioScsi); !ok {
		return []string{"type"}
	}
	return nil
}

// Remedy implements [Object]: a controller carries its targets.
func (s *VirtioScsi) Remedy([]string) Remedy { return RemedyNone }

// VirtioScsiSocket is what a host reaches a virtio-scsi controller through, with all that is in its slots
// by then. It goes with the controller and not before.
type VirtioScsiSocket struct {
	// Controller is the name of the controller.
	Controller string
}

// VirtioScsiSocketKey returns the key of that controller's socket.
func VirtioScsiSocketKey(controller string) Key { return Key{TypeVirtioScsiSocket, controller} }

// Key implements [Object].
func (s *VirtioScsiSocket) Key() Key { return VirtioScsiSocketKey(s.Controller) }

// Needs implements [Object].
func (s *VirtioScsiSocket) Needs() []Key { return []Key{VirtioScsiKey(s.Controller)} }

// LeadsTo implements [Entrance].
func (s *VirtioScsiSocket) LeadsTo() Key { return VirtioScsiKey(s.Controller) }

// Open implements [Entrance].
func (s *VirtioScsiSocket) Open() bool { return true }

// Differences implements [Object].
func (s *VirtioScsiSocket) Differences(observed Object) []string {
	if _, ok := observed.(*VirtioScsiSocket); !ok {
		return []string{"type"}
	}
	return nil
}

// Remedy implements [Object].
func (s *VirtioScsiSocket) Remedy([]string) Remedy { return RemedyNone }

// VirtioScsiTarget is a volume in a slot of a virtio-scsi controller, its LUN 0.
type VirtioScsiTarget struct {
	// Controller is the name of the controller.
	Controller string
	// Slot is the SCSI target number, 0 to MaxVirtioScsiTargets-1.
	Slot uint32
	// Bdev is the name of the bdev behind it.
	Bdev string
	// Shown is wanted only: how large hosts know the disk to be.
	Shown Extent
}

// VirtioScsiTargetKey returns the key of that slot.
func VirtioScsiTargetKey(controller string, slot uint32) Key {
	return Key{TypeVirtioScsiTarget, join(controller, strconv.FormatUint(uint64(slot), 10))}
}

// Key implements [Object].
func (t *VirtioScsiTarget) Key() Key { return VirtioScsiTargetKey(t.Controller, t.Slot) }

// Needs implements [Object].
func (t *VirtioScsiTarget) Needs() []Key {
	return []Key{VirtioScsiKey(t.Controller), BdevKey(t.Bdev)}
}

// Differences implements [Object].
func (t *VirtioScsiTarget) Differences(observed Object) []string {
	o, ok := observed.(*VirtioScsiTarget)
	if !ok {
		return []string{"type"}
	}
	var d differ
	d.check("bdev", t.Bdev == o.Bdev)
	return d.found
}

// Remedy implements [Object].
func (t *VirtioScsiTarget) Remedy([]string) Remedy { return RemedyReplace }
