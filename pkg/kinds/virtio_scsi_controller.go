// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// virtioScsiController is a virtio-scsi controller that a host sees. LUNs can name it as their target.
func virtioScsiController() resource.Declaration[*pb.VirtioScsiController] {
	return resource.Declaration[*pb.VirtioScsiController]{
		Check: func(m *pb.VirtioScsiController, v *resource.Violations) {
			checkPCI(v, "pcie_id", m.GetPcieId())
			checkNoMinimum(v, "min_limit", m.GetMinLimit())
			v.Check(unlimited(m.GetMaxLimit()), "max_limit", "SPDK limits volumes, not controllers: make a QosVolume of each volume")
		},
		Holds: func(r *resource.Record, m *pb.VirtioScsiController, _ resource.View) []resource.Hold {
			return []resource.Hold{vhostHold(r.Name), pciHold("pcie_id", m.GetPcieId())}
		},
		Objects: func(r *resource.Record, m *pb.VirtioScsiController, _ resource.View) ([]driver.Object, error) {
			return scsiController(&driver.VirtioScsi{Name: r.Name.ID(), PCI: pciAddress(m.GetPcieId())}), nil
		},
		Stats: func(name resource.Name, _ *pb.VirtioScsiController, v resource.View) []driver.Key {
			return lunBdevs(name, v)
		},
	}
}

// scsiController returns a controller and what hosts reach it through.
func scsiController(s *driver.VirtioScsi) []driver.Object {
	return []driver.Object{s, &driver.VirtioScsiSocket{Controller: s.Name}}
}
