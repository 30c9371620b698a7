// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"strconv"
	"strings"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

const (
	// factSlot is the fact that holds the SCSI target number, by which the host knows the disk. The
	// message has no place for it.
	factSlot       = "slot"
	lunCollection  = "virtioScsiLuns"
	targetPrefix   = "virtioScsiTargets/"
	scsiCtrlPrefix = "virtioScsiControllers/"
)

// virtioScsiLun is a volume in the lowest free slot of a target or controller.
func virtioScsiLun() resource.Declaration[*pb.VirtioScsiLun] {
	return resource.Declaration[*pb.VirtioScsiLun]{
		Mutable:  []string{"volume_name_ref"},
		Complete: completeLun,
		Check: func(m *pb.VirtioScsiLun, v *resource.Violations) {
			v.Check(m.GetVolumeNameRef() != "", "volume_name_ref", "must be set to the name of a volume, or the bare name of a bdev")
		},
		Refs: func(m *pb.VirtioScsiLun) []resource.Ref {
			return []resource.Ref{
				{Field: "volume_name_ref", To: m.GetVolumeNameRef()},
				{Field: "target_name_ref", To: m.GetTargetNameRef(), Plain: true},
			}
		},
		Holds: func(r *resource.Record, m *pb.VirtioScsiLun, v resource.View) []resource.Hold {
			holds := []resource.Hold{{
				Token: "slot/" + m.GetTargetNameRef() + "/" + r.Facts[factSlot], Field: "target_name_ref",
				What: "slot " + r.Facts[factSlot] + " of " + m.GetTargetNameRef(),
			}}
			if bdev, err := v.Bdev(m.GetVolumeNameRef()); err == nil {
				holds = append(holds, claim("volume_name_ref", m.GetVolumeNameRef(), bdev))
			}
			return holds
		},
		Objects: func(r *resource.Record, m *pb.VirtioScsiLun, v resource.View) ([]driver.Object, error) {
			bdev, err := v.Bdev(m.GetVolumeNameRef())
			if err != nil {
				return nil, err
			}
			slot, err := strconv.ParseUint(r.Facts[factSlot], 10, 32)
			if err != nil {
				return nil, errdefs.Wrap(errdefs.Internal, err, "%s has no slot", r.Name)
			}
			return []driver.Object{&driver.VirtioScsiTarget{
				Controller: resource.Name(m.GetTargetNameRef()).ID(), Slot: uint32(slot), Bdev: bdev, Shown: shown(r, m.GetVolumeNameRef()),
			}}, nil
		},
		Stats: func(_ resource.Name, m *pb.VirtioScsiLun, v resource.View) []driver.Key {
			return referredBdev(m.GetVolumeNameRef(), v)
		},
	}
}

// completeLun finds the target and gives the LUN a slot in it.
func completeLun(m *pb.VirtioScsiLun, c resource.Completion) error {
	noteShown(c, m.GetVolumeNameRef())
	ref := m.GetTargetNameRef()
	if !strings.HasPrefix(ref, targetPrefix) && !strings.HasPrefix(ref, scsiCtrlPrefix) {
		return errdefs.InvalidField("target_name_ref", "%q must be the name of a target or controller, %s… or %s…",
			ref, targetPrefix, scsiCtrlPrefix)
	}
	if c.Facts[factSlot] != "" {
		return nil
	}
	slots := int64(driver.MaxVirtioScsiTargets)
	target := c.View.Record(resource.Name(ref))
	if target == nil {
		return errdefs.New(errdefs.NotFound, "target_name_ref: %s does not exist", ref)
	}
	if t, ok := target.Message.(*pb.VirtioScsiTarget); ok {
		slots = int64(t.GetMaxLuns())
	}
	taken := map[string]bool{}
	var undecided resource.Name
	for _, r := range c.View.Records(lunCollection) {
		if other, ok := r.Message.(*pb.VirtioScsiLun); ok && other.GetTargetNameRef() == ref {
			taken[r.Facts[factSlot]] = true
			if r.State == resource.StateCreating {
				undecided = r.Name
			}
		}
	}
	for n := range slots {
		if slot := strconv.FormatInt(n, 10); !taken[slot] {
			c.Facts[factSlot] = slot
			return nil
		}
	}
	if undecided != "" {
		return mayBeLast(resource.Name(ref), undecided)
	}
	return errdefs.New(errdefs.ResourceExhausted, "%s has all of its %d LUNs", ref, slots)
}

// lunBdevs lists the bdevs behind the LUNs of a target or controller.
func lunBdevs(target resource.Name, v resource.View) []driver.Key {
	var keys []driver.Key
	for _, r := range v.Records(lunCollection) {
		if m, ok := r.Message.(*pb.VirtioScsiLun); ok && m.GetTargetNameRef() == string(target) {
			keys = append(keys, referredBdev(m.GetVolumeNameRef(), v)...)
		}
	}
	return keys
}
