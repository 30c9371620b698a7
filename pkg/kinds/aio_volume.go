// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"path/filepath"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// aioVolume is a file or block device on the machine of the data plane. Its size is the file's:
// blocks_count may be left 0, and when given it must be true. After the file has grown, an Update of
// blocks_count to the new size makes the volume follow (bdev_aio_rescan).
func aioVolume() resource.Declaration[*pb.AioVolume] {
	return resource.Declaration[*pb.AioVolume]{
		Mutable: []string{"blocks_count"},
		Complete: func(m *pb.AioVolume, c resource.Completion) error {
			prior, _ := c.Prior.(*pb.AioVolume)
			m.Uuid = completeUUID(c, m.GetUuid(), prior.GetUuid())
			return nil
		},
		Check: func(m *pb.AioVolume, v *resource.Violations) {
			size := m.GetBlockSize()
			v.Check(size == 0 || within(size, 512, maxU32) && size&(size-1) == 0, "block_size",
				"%d must be a power of two of at least 512 bytes, or 0 to take a block device's own", size)
			v.Check(m.GetBlocksCount() >= 0, "blocks_count", "%d must not be negative", m.GetBlocksCount())
			v.Check(filepath.IsAbs(m.GetFilename()), "filename",
				"%q must be the absolute path of a file or block device on the data plane's machine", m.GetFilename())
			checkUUID(v, "uuid", m.GetUuid())
		},
		Bdev: func(name resource.Name, _ *pb.AioVolume) string { return name.ID() },
		Holds: func(r *resource.Record, m *pb.AioVolume, _ resource.View) []resource.Hold {
			return bdevHolds(r.Name, m.GetUuid())
		},
		Objects: func(r *resource.Record, m *pb.AioVolume, _ resource.View) ([]driver.Object, error) {
			return []driver.Object{&driver.Bdev{
				Name:           r.Name.ID(),
				Kind:           driver.BdevAio,
				BlockSizeBytes: uint32(m.GetBlockSize()),   //nolint:gosec // bounded by Check
				Blocks:         uint64(m.GetBlocksCount()), //nolint:gosec // bounded by Check
				UUID:           m.GetUuid(),
				Filename:       m.GetFilename(),
			}}, nil
		},
		Stats: func(name resource.Name, _ *pb.AioVolume, _ resource.View) []driver.Key { return bdevStats(name) },
		Live: func(r *resource.Record, m *pb.AioVolume, v resource.View) {
			if b, ok := v.Observed(driver.BdevKey(r.Name.ID())).(*driver.Bdev); ok {
				m.BlockSize = int64(b.BlockSizeBytes)
				m.BlocksCount = int64(b.Blocks) //nolint:gosec // a file's size fits
			}
		},
	}
}
