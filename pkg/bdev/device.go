// SPDX-License-Identifier: Apache-2.0

// Package bdev is the block layer of the embedded data plane: the [Device] interface, the kinds of
// device behind it (malloc, null, aio, crypto), and the [Registry] that names them, counts and limits
// their I/O, hands out claims and tells their users when one grows or goes.
//
// It follows SPDK's bdev layer in names and manners, so that the JSON-RPC methods above it can
// answer as SPDK does.
package bdev

import "time"

// Op is what a [Request] asks of a device.
type Op uint8

// The operations. Ranges are in blocks of the device.
const (
	// OpRead fills Data from the device.
	OpRead Op = iota + 1
	// OpWrite writes Data to the device.
	OpWrite
	// OpFlush makes everything written before durable; it has no range.
	OpFlush
	// OpWriteZeroes makes the range read as zeroes.
	OpWriteZeroes
	// OpUnmap says that the content of the range is no longer wanted. It reads as zeroes or as
	// before, as the device likes.
	OpUnmap
	// OpCompare succeeds when the range equals Data, and fails with ErrCompare when it does not.
	OpCompare
)

// Request is one I/O. The submitter owns it and its Data again when Done has been called, and may
// then use both for another request; between Submit and Done neither may be touched.
type Request struct {
	// Op is the operation.
	Op Op
	// Block is the first block of the range.
	Block uint64
	// Count is the number of blocks in the range. 64 bits, because one deallocation may cover a
	// whole device.
	Count uint64
	// Data holds Count blocks for read, write and compare; otherwise it is nil.
	Data []byte
	// Brief says that Data is there only until Submit returns. Where limits might hold the request up
	// for longer it ends with ErrHeld, not counted, and may be submitted again with other Data. Such a
	// request may only go to a [Memory].
	Brief bool
	// Done is called exactly once for every submitted request: on any goroutine, and perhaps before
	// Submit returns. It must not block.
	Done func(r *Request, err error)
	// Context is the submitter's own; devices leave it alone. A pointer in it costs no allocation.
	Context any

	// shard counts the request for the descriptor that it came through; nil when it came straight
	// from a submitter.
	shard *shard
	// began is the monotonic time of submission, in nanoseconds, if shard is set.
	began int64
	// next links requests that wait in a queue of limits or of a device. Only who has the request uses it.
	next *Request
}

// Complete ends the request: it counts it for the descriptor through which it came and calls Done.
// A device calls it exactly once for each request that it was given, and does not call Done itself.
func (r *Request) Complete(err error) {
	if s := r.shard; s != nil {
		r.shard = nil
		s.finish(r.Op, r.Count, time.Duration(nanotime()-r.began), err)
	}
	r.Done(r, err)
}

// changes says whether the request may change what its range holds.
func (r *Request) changes() bool {
	return r.Op == OpWrite || r.Op == OpWriteZeroes || r.Op == OpUnmap
}

// Device moves blocks. Implementations are safe for concurrent use and give no order between
// requests that are in flight at the same time.
type Device interface {
	// Submit starts a request, which ends with Request.Complete. The range has been checked against
	// Geometry by the caller. Submit does not wait for slow media.
	Submit(r *Request)
	// Geometry returns block size and size now. Cheap; the size may change while requests run.
	Geometry() Geometry
	// Close lets go of what the device holds. No request is in flight, and none follows.
	Close() error
}

// Geometry is the shape of a device.
type Geometry struct {
	// BlockSizeBytes is the size of a block, interleaved metadata included.
	BlockSizeBytes uint32
	// Blocks is the number of blocks.
	Blocks uint64
}

// Memory is the further ability of a device whose blocks lie in memory: a target can answer a read
// straight from it, without a copy and without waiting.
//
// A [Desc] is not a Memory itself, because the ability is its device's: ask [Desc.Memory].
type Memory interface {
	Device
	// Bytes returns the memory of the range, or nil when the range cannot be had in this way now, and
	// has to be read with a request. It stays valid until the device is closed; whoever reads it while
	// somebody writes the same blocks sees a mixture, as on any disk.
	Bytes(block, count uint64) []byte
}

// Resizer is the further ability of a device whose size may change while it is registered. Only
// [Registry.Resize] calls it, so that openers hear of every change.
type Resizer interface {
	Device
	// SetBlocks changes the size to the number of blocks.
	SetBlocks(blocks uint64)
}
