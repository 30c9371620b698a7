// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

func aioMethods() []method {
	return []method{
		taking("bdev_aio_create", refusedInternal, createAIO),
		taking("bdev_aio_delete", refusedInternal, func(ctx context.Context, c *call, p *nameParams) {
			remove(ctx, c, p.Name, bdev.ModuleAIO)
		}),
		taking("bdev_aio_rescan", refusedInternal, func(ctx context.Context, c *call, p *nameParams) {
			c.later("", func() { c.done(bdev.RescanAIO(ctx, c.server.bdevs, p.Name)) })
		}),
	}
}

type createAIOParams struct {
	Name      string    `rpc:"name,required"`
	Filename  string    `rpc:"filename,required"`
	BlockSize uint32    `rpc:"block_size"`
	ReadOnly  bool      `rpc:"readonly"`
	Fallocate bool      `rpc:"fallocate"`
	UUID      uuid.UUID `rpc:"uuid"`
	NoWait    bool      `rpc:"nowait"`
}

// aioConfig is an aio bdev as framework_get_config shows it.
type aioConfig struct {
	Name      string    `json:"name"`
	BlockSize uint32    `json:"block_size,omitempty"`
	Filename  string    `json:"filename"`
	ReadOnly  bool      `json:"readonly"`
	Fallocate bool      `json:"fallocate"`
	UUID      uuid.UUID `json:"uuid"`
	NoWait    bool      `json:"nowait"`
}

// createAIO opens the file in a later turn, because a file can be slow to open.
func createAIO(_ context.Context, c *call, p *createAIOParams) {
	c.later("", func() {
		info, err := bdev.CreateAIO(c.server.bdevs, bdev.AIOOptions{
			Name: p.Name, UUID: p.UUID, Filename: p.Filename, BlockSizeBytes: p.BlockSize,
			ReadOnly: p.ReadOnly, Fallocate: p.Fallocate, NoWait: p.NoWait,
		})
		if err == nil {
			c.server.made.note(info.Name, bdev.ModuleAIO, func(now *bdev.Info) configEntry {
				return configEntry{Method: "bdev_aio_create", Params: aioConfig{
					Name: now.Name, BlockSize: p.BlockSize, Filename: p.Filename, ReadOnly: p.ReadOnly,
					Fallocate: p.Fallocate, UUID: now.UUID, NoWait: p.NoWait,
				}}
			})
		}
		c.created(info, err)
	})
}
