// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// nullVolume is a bdev that forgets what is written to it. It can grow (bdev_null_resize) in whole
// MiB, and not shrink.
func nullVolume() resource.Declaration[*pb.NullVolume] {
	return resource.Declaration[*pb.NullVolume]{
		Mutable: []string{"blocks_count"},
		Complete: func(m *pb.NullVolume, c resource.Completion) error {
			prior, _ := c.Prior.(*pb.NullVolume)
			m.Uuid = completeUUID(c, m.GetUuid(), prior.GetUuid())
			return nil
		},
		Check: func(m *pb.NullVolume, v *resource.Violations) {
			checkBlockSize(v, m.GetBlockSize())
			v.Check(m.GetBlocksCount() > 0, "blocks_count", "%d must be positive", m.GetBlocksCount())
			checkUUID(v, "uuid", m.GetUuid())
		},
		Bdev: func(name resource.Name, _ *pb.NullVolume) string { return name.ID() },
		Holds: func(r *resource.Record, m *pb.NullVolume, _ resource.View) []resource.Hold {
			return bdevHolds(r.Name, m.GetUuid())
		},
		Objects: func(r *resource.Record, m *pb.NullVolume, _ resource.View) ([]driver.Object, error) {
			return []driver.Object{&driver.Bdev{
				Name:           r.Name.ID(),
				Kind:           driver.BdevNull,
				BlockSizeBytes: uint32(m.GetBlockSize()),   //nolint:gosec // bounded by Check
				Blocks:         uint64(m.GetBlocksCount()), //nolint:gosec // bounded by Check
				UUID:           m.GetUuid(),
			}}, nil
		},
		Stats: func(name resource.Name, _ *pb.NullVolume, _ resource.View) []driver.Key { return bdevStats(name) },
	}
}
