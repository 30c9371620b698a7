// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// qosVolume is another volume with its I/O limited. It is no bdev of its own: the limits lie on the
// bdev of the volume it names, whoever uses that.
func qosVolume() resource.Declaration[*pb.QosVolume] {
	return resource.Declaration[*pb.QosVolume]{
		Mutable: append(limitFields("limits.max"), limitFields("limits.min")...),
		Check: func(m *pb.QosVolume, v *resource.Violations) {
			v.Check(m.GetVolumeNameRef() != "", "volume_name_ref", "must be set to the name of a volume, or the bare name of a bdev")
			v.Check(!unlimited(m.GetLimits().GetMax()), "limits.max", "must set at least one limit")
			checkNoMinimum(v, "limits.min", m.GetLimits().GetMin())
			checkMaximum(v, "limits.max", m.GetLimits().GetMax())
		},
		Bdev: func(_ resource.Name, m *pb.QosVolume) string { return m.GetVolumeNameRef() },
		Refs: func(m *pb.QosVolume) []resource.Ref {
			return []resource.Ref{{Field: "volume_name_ref", To: m.GetVolumeNameRef()}}
		},
		Holds: func(_ *resource.Record, m *pb.QosVolume, v resource.View) []resource.Hold {
			bdev, err := v.Bdev(m.GetVolumeNameRef())
			if err != nil {
				return nil
			}
			return []resource.Hold{limitsHold("volume_name_ref", bdev)}
		},
		Objects: func(_ *resource.Record, m *pb.QosVolume, v resource.View) ([]driver.Object, error) {
			bdev, err := v.Bdev(m.GetVolumeNameRef())
			if err != nil {
				return nil, err
			}
			return []driver.Object{limits(bdev, m.GetLimits().GetMax())}, nil
		},
		Stats: func(_ resource.Name, m *pb.QosVolume, v resource.View) []driver.Key {
			return referredBdev(m.GetVolumeNameRef(), v)
		},
	}
}
