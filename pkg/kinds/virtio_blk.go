// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// maxVirtioQueues is how many queues SPDK serves a vhost-user device with.
const maxVirtioQueues = 256

// virtioBlk is a virtio-blk device that a host sees. Its limits lie on the volume behind it.
func virtioBlk() resource.Declaration[*pb.VirtioBlk] {
	return resource.Declaration[*pb.VirtioBlk]{
		Mutable: append([]string{"volume_name_ref"}, limitFields("max_limit")...),
		Complete: func(m *pb.VirtioBlk, c resource.Completion) error {
			noteShown(c, m.GetVolumeNameRef())
			return nil
		},
		Check: func(m *pb.VirtioBlk, v *resource.Violations) {
			checkPCI(v, "pcie_id", m.GetPcieId())
			v.Check(m.GetVolumeNameRef() != "", "volume_name_ref", "must be set to the name of a volume, or the bare name of a bdev")
			v.Check(within(m.GetMaxIoQps(), 0, maxVirtioQueues), "max_io_qps",
				"%d must be 1 to %d, or 0 for the host's default", m.GetMaxIoQps(), maxVirtioQueues)
			checkNoMinimum(v, "min_limit", m.GetMinLimit())
			checkMaximum(v, "max_limit", m.GetMaxLimit())
		},
		Refs: func(m *pb.VirtioBlk) []resource.Ref {
			return []resource.Ref{{Field: "volume_name_ref", To: m.GetVolumeNameRef()}}
		},
		Holds: func(r *resource.Record, m *pb.VirtioBlk, v resource.View) []resource.Hold {
			holds := []resource.Hold{vhostHold(r.Name), pciHold("pcie_id", m.GetPcieId())}
			if bdev, err := v.Bdev(m.GetVolumeNameRef()); err == nil {
				holds = append(holds, claim("volume_name_ref", m.GetVolumeNameRef(), bdev))
				if !unlimited(m.GetMaxLimit()) {
					holds = append(holds, limitsHold("max_limit", bdev))
				}
			}
			return holds
		},
		Objects: func(r *resource.Record, m *pb.VirtioBlk, v resource.View) ([]driver.Object, error) {
			bdev, err := v.Bdev(m.GetVolumeNameRef())
			if err != nil {
				return nil, err
			}
			objects := []driver.Object{&driver.VirtioBlk{
				Name: r.Name.ID(), Bdev: bdev, PCI: pciAddress(m.GetPcieId()), Shown: shown(r, m.GetVolumeNameRef()),
				Queues: uint32(m.GetMaxIoQps()), //nolint:gosec // bounded by Check
			}}
			if !unlimited(m.GetMaxLimit()) {
				objects = append(objects, limits(bdev, m.GetMaxLimit()))
			}
			return objects, nil
		},
		Stats: func(_ resource.Name, m *pb.VirtioBlk, v resource.View) []driver.Key {
			return referredBdev(m.GetVolumeNameRef(), v)
		},
	}
}

// vhostHold says that virtio-blk and virtio-scsi controllers share one name space in SPDK.
func vhostHold(name resource.Name) resource.Hold {
	return resource.Hold{Token: "vhost/" + name.ID(), Field: "name", What: "vhost controller name " + name.ID()}
}
