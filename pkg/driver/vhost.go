// SPDX-License-Identifier: Apache-2.0

package driver

import "strconv"

// The virtio object types.
const (
	// TypeVirtioBlk is a virtio-blk device that a host sees.
	TypeVirtioBlk Type = "virtio_blk"
	// TypeVirtioScsi is a virtio-scsi controller that a host sees.
	TypeVirtioScsi Type = "virtio_scsi"
	// TypeVirtioScsiTarget is a volume in one of the slots of a virtio-scsi controller.
	TypeVirtioScsiTarget Type = "virtio_scsi_target"
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
}

// PCIAddress says where on its PCIe ports a card shows a function.
type PCIAddress struct {
	// Port, Physical and Virtual are the numbers of port, physical and virtual function.
	Port, Physical, Virtual int32
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
	d.check("bdev", b.Bdev == o.Bdev)
	return d.found
}

// Remedy implements [Object].
func (b *VirtioBlk) Remedy([]string) Remedy { return RemedyReplace }

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

// VirtioScsiTarget is a volume in a slot of a virtio-scsi controller, its LUN 0.
type VirtioScsiTarget struct {
	// Controller is the name of the controller.
	Controller string
	// Slot is the SCSI target number, 0 to MaxVirtioScsiTargets-1.
	Slot uint32
	// Bdev is the name of the bdev behind it.
	Bdev string
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
