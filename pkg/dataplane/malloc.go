// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"syscall"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

func mallocMethods() []method {
	return []method{
		taking("bdev_malloc_create", refusedInternal, createMalloc),
		taking("bdev_malloc_delete", refusedInternal, func(ctx context.Context, c *call, p *nameParams) {
			remove(ctx, c, p.Name, bdev.ModuleMalloc)
		}),
	}
}

type createMallocParams struct {
	Name              *string   `rpc:"name"`
	BlockSize         uint32    `rpc:"block_size,required"`
	NumBlocks         uint64    `rpc:"num_blocks,required"`
	UUID              uuid.UUID `rpc:"uuid"`
	OptimalIOBoundary uint32    `rpc:"optimal_io_boundary"`
	MdSize            uint32    `rpc:"md_size"`
	MdInterleave      bool      `rpc:"md_interleave"`
	DifType           int32     `rpc:"dif_type"`
	DifIsHeadOfMd     bool      `rpc:"dif_is_head_of_md"`
	PhysicalBlockSize uint32    `rpc:"physical_block_size"`
	DifPiFormat       uint32    `rpc:"dif_pi_format"`
	NumaID            *int32    `rpc:"numa_id"`
}

// mallocConfig is a malloc bdev as framework_get_config shows it.
type mallocConfig struct {
	Name              string    `json:"name"`
	NumBlocks         uint64    `json:"num_blocks"`
	BlockSize         uint32    `json:"block_size"`
	PhysicalBlockSize uint32    `json:"physical_block_size"`
	UUID              uuid.UUID `json:"uuid"`
	OptimalIOBoundary uint32    `json:"optimal_io_boundary"`
	MdSize            uint32    `json:"md_size"`
	DifType           int32     `json:"dif_type"`
	DifIsHeadOfMd     bool      `json:"dif_is_head_of_md"`
	DifPiFormat       uint32    `json:"dif_pi_format"`
	NumaID            int32     `json:"numa_id"`
}

func createMalloc(_ context.Context, c *call, p *createMallocParams) {
	o := bdev.MallocOptions{
		UUID: p.UUID, BlockSizeBytes: p.BlockSize, Blocks: p.NumBlocks, PhysicalBlockSizeBytes: p.PhysicalBlockSize,
		Metadata: bdev.Metadata{
			SizeBytes: p.MdSize, Interleaved: p.MdInterleave && p.MdSize > 0,
			DIFType: difType(p.DifType), DIFAtHead: p.DifIsHeadOfMd, DIFFormat: p.DifPiFormat,
		},
	}
	if p.Name != nil {
		if *p.Name == "" {
			c.failErrno(syscall.EINVAL)
			return
		}
		o.Name = *p.Name
	}
	info, err := bdev.CreateMalloc(c.server.bdevs, o)
	if err == nil {
		numa := int32(unknownNuma)
		if p.NumaID != nil {
			numa = *p.NumaID
		}
		physical := p.PhysicalBlockSize
		if physical == 0 {
			physical = p.BlockSize
		}
		c.server.made.note(info.Name, bdev.ModuleMalloc, func(now *bdev.Info) configEntry {
			return configEntry{Method: "bdev_malloc_create", Params: mallocConfig{
				Name: now.Name, NumBlocks: now.Geometry.Blocks, BlockSize: now.Geometry.BlockSizeBytes,
				PhysicalBlockSize: physical, UUID: now.UUID, OptimalIOBoundary: p.OptimalIOBoundary, MdSize: p.MdSize,
				DifType: p.DifType, DifIsHeadOfMd: p.DifIsHeadOfMd, DifPiFormat: p.DifPiFormat, NumaID: numa,
			}}
		})
	}
	c.created(info, err)
}

// difType turns a parameter into the type of protection information; a negative one becomes one
// that does not exist, and is refused with the rest.
func difType(p int32) uint32 {
	return uint32(p) //nolint:gosec // wrapping is what makes it invalid
}
