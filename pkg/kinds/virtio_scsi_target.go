// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// virtioScsiTarget holds LUNs. In SPDK's vhost-scsi a controller has eight targets of one LUN each, so
// what the API calls a target is a controller there, and a LUN one of its targets.
func virtioScsiTarget() resource.Declaration[*pb.VirtioScsiTarget] {
	return resource.Declaration[*pb.VirtioScsiTarget]{
		Complete: func(m *pb.VirtioScsiTarget, c resource.Completion) error {
			prior, _ := c.Prior.(*pb.VirtioScsiTarget)
			if m.MaxLuns == 0 {
				m.MaxLuns = prior.GetMaxLuns()
			}
			if m.MaxLuns == 0 {
				m.MaxLuns = driver.MaxVirtioScsiTargets
			}
			return nil
		},
		Check: func(m *pb.VirtioScsiTarget, v *resource.Violations) {
			v.Check(within(int64(m.GetMaxLuns()), 1, driver.MaxVirtioScsiTargets), "max_luns",
				"%d must be 1 to %d, or 0 for all", m.GetMaxLuns(), driver.MaxVirtioScsiTargets)
		},
		Holds: func(r *resource.Record, _ *pb.VirtioScsiTarget, _ resource.View) []resource.Hold {
			return []resource.Hold{vhostHold(r.Name)}
		},
		Objects: func(r *resource.Record, _ *pb.VirtioScsiTarget, _ resource.View) ([]driver.Object, error) {
			return scsiController(&driver.VirtioScsi{Name: r.Name.ID()}), nil
		},
		Stats: func(name resource.Name, _ *pb.VirtioScsiTarget, v resource.View) []driver.Key {
			return lunBdevs(name, v)
		},
	}
}
