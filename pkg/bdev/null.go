// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"
)

// ModuleNull is the module name of null bdevs.
const ModuleNull = "null"

// NullOptions describe a null bdev.
type NullOptions struct {
	// Name of the bdev; required by Null.Spec.
	Name string
	// UUID of the bdev; nil for a random one.
	UUID uuid.UUID
	// BlockSizeBytes is a multiple of 512 and not 0, without metadata.
	BlockSizeBytes uint32
	// Blocks is the size; at least 1.
	Blocks uint64
	// PhysicalBlockSizeBytes is a multiple of 512, or 0.
	PhysicalBlockSizeBytes uint32
	// Metadata of a block: 0, 8, 16, 32, 64 or 128 bytes, always interleaved.
	Metadata Metadata
	// Hints are shown and have no other effect.
	Hints Hints
}

// Null is a device that forgets what is written and reads as zeroes. (SPDK leaves the reader's
// buffer as it is, so that remote readers see old memory; that is not worth imitating.)
type Null struct {
	options NullOptions
	block   uint32
	blocks  atomic.Uint64
}

// NewNull checks the options; bad ones are InvalidArgument (EINVAL).
func NewNull(o NullOptions) (*Null, error) {
	switch {
	case o.BlockSizeBytes == 0 || o.BlockSizeBytes%512 != 0:
		return nil, errInvalid("block size %d is not a multiple of 512", o.BlockSizeBytes)
	case o.PhysicalBlockSizeBytes%512 != 0:
		return nil, errInvalid("physical block size %d is not a multiple of 512", o.PhysicalBlockSizeBytes)
	case o.Blocks == 0:
		return nil, errInvalid("a null bdev needs at least one block")
	}
	if err := o.Metadata.check(); err != nil {
		return nil, err
	}
	o.Metadata.Interleaved = o.Metadata.SizeBytes > 0
	n := &Null{options: o, block: o.BlockSizeBytes + o.Metadata.SizeBytes}
	n.blocks.Store(o.Blocks)
	return n, nil
}

// Spec returns what to register.
func (n *Null) Spec() Spec {
	return Spec{
		Name: n.options.Name, UUID: n.options.UUID, Module: ModuleNull, Product: "Null disk",
		Metadata: n.options.Metadata, Hints: n.options.Hints, Device: n,
		IOTypes: IORead | IOWrite | IOReset | IOWriteZeroes | IOAbort,
	}
}

// CreateNull makes a null bdev and registers it.
func CreateNull(r *Registry, o NullOptions) (*Info, error) {
	n, err := NewNull(o)
	if err != nil {
		return nil, fmt.Errorf("null bdev %q: %w", o.Name, err)
	}
	return r.adopt(n.Spec())
}

// ResizeNull sets the size of a null bdev in MiB. To shrink it, or a bdev of another kind, is
// InvalidArgument (EINVAL), an unknown one NotFound (ENODEV).
func ResizeNull(r *Registry, name string, sizeMiB uint64) error {
	info, err := r.Lookup(name)
	if err != nil {
		return err
	}
	if info.Module != ModuleNull {
		return errInvalid("bdev %q is of kind %s, not null", name, info.Module)
	}
	const bytesPerMiB = 1 << 20
	if sizeMiB > ^uint64(0)/bytesPerMiB {
		return errInvalid("a size of %d MiB does not fit 64 bits of bytes", sizeMiB)
	}
	now := info.Geometry
	blocks := sizeMiB * bytesPerMiB / uint64(now.BlockSizeBytes)
	if blocks < now.Blocks {
		return errInvalid("null bdev %q has %d blocks and cannot shrink to %d", name, now.Blocks, blocks)
	}
	return r.Resize(name, blocks)
}

// Geometry implements [Device].
func (n *Null) Geometry() Geometry {
	return Geometry{BlockSizeBytes: n.block, Blocks: n.blocks.Load()}
}

// SetBlocks implements [Resizer].
func (n *Null) SetBlocks(blocks uint64) { n.blocks.Store(blocks) }

// Submit implements [Device].
func (n *Null) Submit(r *Request) {
	var err error
	switch r.Op {
	case OpRead:
		clear(r.Data)
	case OpCompare:
		for _, b := range r.Data {
			if b != 0 {
				err = ErrCompare
				break
			}
		}
	case OpWrite, OpFlush, OpWriteZeroes, OpUnmap:
	default:
		err = ErrOp
	}
	r.Complete(err)
}

// Close implements [Device].
func (n *Null) Close() error { return nil }
