// SPDX-License-Identifier: Apache-2.0

package spdkrpc

import (
	"context"
	"encoding/json"
)

// Product names of bdevs, which tell their module.
const (
	ProductMalloc = "Malloc disk"
	ProductNull   = "Null disk"
	ProductAio    = "AIO disk"
	ProductNvme   = "NVMe disk"
	ProductCrypto = "crypto"
)

// Bdev is an element of bdev_get_bdevs.
type Bdev struct {
	Name        string   `json:"name"`
	Aliases     []string `json:"aliases"`
	ProductName string   `json:"product_name"`
	// BlockSize includes the metadata if that is interleaved.
	BlockSize    uint32 `json:"block_size"`
	NumBlocks    uint64 `json:"num_blocks"`
	UUID         string `json:"uuid"`
	MdSize       uint32 `json:"md_size"`
	MdInterleave bool   `json:"md_interleave"`
	Claimed      bool   `json:"claimed"`
	ClaimType    string `json:"claim_type"`
	// AssignedRateLimits are the limits of its I/O.
	AssignedRateLimits RateLimits `json:"assigned_rate_limits"`
	// DriverSpecific differs from module to module, see Aio, Nvme and Crypto.
	DriverSpecific map[string]json.RawMessage `json:"driver_specific"`
}

// BdevAio is what the aio module tells of its bdevs.
type BdevAio struct {
	Filename string `json:"filename"`
	Readonly bool   `json:"readonly"`
}

// BdevCrypto is what the crypto module tells of its bdevs.
type BdevCrypto struct {
	BaseBdevName string `json:"base_bdev_name"`
	KeyName      string `json:"key_name"`
}

// BdevNvmePath is what the nvme module tells of one path of a bdev.
type BdevNvmePath struct {
	Trid   Trid `json:"trid"`
	NsData struct {
		ID uint32 `json:"id"`
	} `json:"ns_data"`
}

// Aio returns what the aio module tells; the zero value if it is none of its bdevs.
func (b *Bdev) Aio() (a BdevAio) {
	_ = json.Unmarshal(b.DriverSpecific["aio"], &a) // absent or of another shape: nothing is known
	return a
}

// Crypto returns what the crypto module tells; the zero value if it is none of its bdevs.
func (b *Bdev) Crypto() (c BdevCrypto) {
	_ = json.Unmarshal(b.DriverSpecific["crypto"], &c) // absent or of another shape: nothing is known
	return c
}

// Nvme returns what the nvme module tells; nothing if it is none of its bdevs.
func (b *Bdev) Nvme() (paths []BdevNvmePath) {
	_ = json.Unmarshal(b.DriverSpecific["nvme"], &paths) // absent or of another shape: nothing is known
	return paths
}

// GetBdevs returns all bdevs (bdev_get_bdevs) in the order of their creation.
func GetBdevs(ctx context.Context, c Caller) ([]Bdev, error) {
	return get[[]Bdev](ctx, c, "bdev_get_bdevs", nil)
}

// GetBdev returns the bdev with that name or alias (bdev_get_bdevs); CodeNoDevice if there is none.
func GetBdev(ctx context.Context, c Caller, name string) ([]Bdev, error) {
	return get[[]Bdev](ctx, c, "bdev_get_bdevs", named{name})
}

// BdevMallocCreate are the parameters of bdev_malloc_create.
type BdevMallocCreate struct {
	Name         string `json:"name"`
	BlockSize    uint32 `json:"block_size"` // data only
	NumBlocks    uint64 `json:"num_blocks"`
	UUID         string `json:"uuid,omitempty"`
	MdSize       uint32 `json:"md_size,omitempty"`
	MdInterleave bool   `json:"md_interleave,omitempty"`
}

// Do makes the call. SPDK answers with the name.
func (p BdevMallocCreate) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "bdev_malloc_create", p, nil)
}

// BdevNullCreate are the parameters of bdev_null_create.
type BdevNullCreate struct {
	Name      string `json:"name"`
	BlockSize uint32 `json:"block_size"`
	NumBlocks uint64 `json:"num_blocks"`
	UUID      string `json:"uuid,omitempty"`
}

// Do makes the call. SPDK answers with the name.
func (p BdevNullCreate) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "bdev_null_create", p, nil)
}

// BdevNullResize are the parameters of bdev_null_resize. Only growth is taken.
type BdevNullResize struct {
	Name    string `json:"name"`
	NewSize uint64 `json:"new_size"` // MiB
}

// Do makes the call.
func (p BdevNullResize) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "bdev_null_resize", p, nil)
}

// BdevAioCreate are the parameters of bdev_aio_create.
type BdevAioCreate struct {
	Name      string `json:"name"`
	Filename  string `json:"filename"`
	BlockSize uint32 `json:"block_size,omitempty"` // needed for a regular file
	UUID      string `json:"uuid,omitempty"`       // see Features.AioUUID
	// Fallocate gives blocks that hosts discard back to the file system (since v24.05).
	Fallocate bool `json:"fallocate,omitempty"`
}

// Do makes the call. SPDK answers with the name.
func (p BdevAioCreate) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "bdev_aio_create", p, nil)
}

// BdevAioRescan takes over the size of a file that has grown (bdev_aio_rescan).
func BdevAioRescan(ctx context.Context, c Caller, name string) error {
	return c.Call(ctx, "bdev_aio_rescan", named{name}, nil)
}

// BdevMallocDelete deletes a malloc bdev; the answer comes when it is gone.
func BdevMallocDelete(ctx context.Context, c Caller, name string) error {
	return c.Call(ctx, "bdev_malloc_delete", named{name}, nil)
}

// BdevNullDelete deletes a null bdev; the answer comes when it is gone.
func BdevNullDelete(ctx context.Context, c Caller, name string) error {
	return c.Call(ctx, "bdev_null_delete", named{name}, nil)
}

// BdevAioDelete deletes an aio bdev, not the file; the answer comes when it is gone.
func BdevAioDelete(ctx context.Context, c Caller, name string) error {
	return c.Call(ctx, "bdev_aio_delete", named{name}, nil)
}
