// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"slices"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// mallocVolume is a bdev in the data plane's memory. Its content is lost when the data plane
// restarts; the disk itself comes back, empty and with the same identity.
func mallocVolume() resource.Declaration[*pb.MallocVolume] {
	return resource.Declaration[*pb.MallocVolume]{
		Complete: func(m *pb.MallocVolume, c resource.Completion) error {
			prior, _ := c.Prior.(*pb.MallocVolume)
			m.Uuid = completeUUID(c, m.GetUuid(), prior.GetUuid())
			return nil
		},
		Check: func(m *pb.MallocVolume, v *resource.Violations) {
			checkBlockSize(v, m.GetBlockSize())
			v.Check(m.GetBlocksCount() > 0, "blocks_count", "%d must be positive", m.GetBlocksCount())
			v.Check(slices.Contains([]int64{0, 8, 16, 32, 64, 128}, m.GetMetadataSize()), "metadata_size",
				"%d must be 0, 8, 16, 32, 64 or 128 bytes", m.GetMetadataSize())
			checkUUID(v, "uuid", m.GetUuid())
		},
		Bdev: func(name resource.Name, _ *pb.MallocVolume) string { return name.ID() },
		Holds: func(r *resource.Record, m *pb.MallocVolume, _ resource.View) []resource.Hold {
			return bdevHolds(r.Name, m.GetUuid())
		},
		Objects: func(r *resource.Record, m *pb.MallocVolume, _ resource.View) ([]driver.Object, error) {
			return []driver.Object{&driver.Bdev{
				Name:           r.Name.ID(),
				Kind:           driver.BdevMalloc,
				BlockSizeBytes: uint32(m.GetBlockSize()),    //nolint:gosec // bounded by Check
				Blocks:         uint64(m.GetBlocksCount()),  //nolint:gosec // bounded by Check
				MetadataBytes:  uint32(m.GetMetadataSize()), //nolint:gosec // bounded by Check
				UUID:           m.GetUuid(),
			}}, nil
		},
		Stats: func(name resource.Name, _ *pb.MallocVolume, _ resource.View) []driver.Key { return bdevStats(name) },
	}
}
