// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

func nullMethods() []method {
	return []method{
		taking("bdev_null_create", refusedInternal, createNull),
		taking("bdev_null_delete", refusedInternal, func(ctx context.Context, c *call, p *nameParams) {
			remove(ctx, c, p.Name, bdev.ModuleNull)
		}),
		taking("bdev_null_resize", refusedInternal, func(_ context.Context, c *call, p *resizeNullParams) {
			c.done(bdev.ResizeNull(c.server.bdevs, p.Name, p.NewSizeMiB))
		}),
	}
}

type createNullParams struct {
	Name                      string    `rpc:"name,required"`
	BlockSize                 uint32    `rpc:"block_size,required"`
	NumBlocks                 uint64    `rpc:"num_blocks,required"`
	UUID                      uuid.UUID `rpc:"uuid"`
	PhysicalBlockSize         uint32    `rpc:"physical_block_size"`
	MdSize                    uint32    `rpc:"md_size"`
	DifType                   int32     `rpc:"dif_type"`
	DifPiFormat               uint32    `rpc:"dif_pi_format"`
	DifIsHeadOfMd             bool      `rpc:"dif_is_head_of_md"`
	PreferredWriteGranularity uint32    `rpc:"preferred_write_granularity"`
	PreferredWriteAlignment   uint32    `rpc:"preferred_write_alignment"`
	OptimalWriteSize          uint32    `rpc:"optimal_write_size"`
	PreferredUnmapGranularity uint32    `rpc:"preferred_unmap_granularity"`
	PreferredUnmapAlignment   uint32    `rpc:"preferred_unmap_alignment"`
}

type resizeNullParams struct {
	Name       string `rpc:"name,required"`
	NewSizeMiB uint64 `rpc:"new_size,required"`
}

// nullConfig is a null bdev as framework_get_config shows it.
type nullConfig struct {
	Name                      string    `json:"name"`
	NumBlocks                 uint64    `json:"num_blocks"`
	BlockSize                 uint32    `json:"block_size"`
	PhysicalBlockSize         uint32    `json:"physical_block_size"`
	MdSize                    uint32    `json:"md_size"`
	DifType                   int32     `json:"dif_type"`
	DifIsHeadOfMd             bool      `json:"dif_is_head_of_md"`
	DifPiFormat               uint32    `json:"dif_pi_format"`
	UUID                      uuid.UUID `json:"uuid"`
	PreferredWriteGranularity uint32    `json:"preferred_write_granularity"`
	PreferredWriteAlignment   uint32    `json:"preferred_write_alignment"`
	OptimalWriteSize          uint32    `json:"optimal_write_size"`
	PreferredUnmapGranularity uint32    `json:"preferred_unmap_granularity"`
	PreferredUnmapAlignment   uint32    `json:"preferred_unmap_alignment"`
}

func createNull(_ context.Context, c *call, p *createNullParams) {
	hints := bdev.Hints{
		PreferredWriteAlignment: p.PreferredWriteAlignment, PreferredWriteGranularity: p.PreferredWriteGranularity,
		OptimalWriteSize:        p.OptimalWriteSize,
		PreferredUnmapAlignment: p.PreferredUnmapAlignment, PreferredUnmapGranularity: p.PreferredUnmapGranularity,
	}
	info, err := bdev.CreateNull(c.server.bdevs, bdev.NullOptions{
		Name: p.Name, UUID: p.UUID, BlockSizeBytes: p.BlockSize, Blocks: p.NumBlocks,
		PhysicalBlockSizeBytes: p.PhysicalBlockSize, Hints: hints,
		Metadata: bdev.Metadata{
			SizeBytes: p.MdSize, DIFType: difType(p.DifType), DIFAtHead: p.DifIsHeadOfMd, DIFFormat: p.DifPiFormat,
		},
	})
	if err == nil {
		physical := p.PhysicalBlockSize
		if physical == 0 {
			physical = p.BlockSize
		}
		c.server.made.note(info.Name, bdev.ModuleNull, func(now *bdev.Info) configEntry {
			return configEntry{Method: "bdev_null_create", Params: nullConfig{
				Name: now.Name, NumBlocks: now.Geometry.Blocks, BlockSize: now.Geometry.BlockSizeBytes,
				PhysicalBlockSize: physical, MdSize: p.MdSize, DifType: p.DifType, DifIsHeadOfMd: p.DifIsHeadOfMd,
				DifPiFormat: p.DifPiFormat, UUID: now.UUID,
				PreferredWriteGranularity: p.PreferredWriteGranularity, PreferredWriteAlignment: p.PreferredWriteAlignment,
				OptimalWriteSize:          p.OptimalWriteSize,
				PreferredUnmapGranularity: p.PreferredUnmapGranularity, PreferredUnmapAlignment: p.PreferredUnmapAlignment,
			}}
		})
	}
	c.created(info, err)
}
