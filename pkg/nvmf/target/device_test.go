// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// ram is a device in memory, with what tests need to look at or hold up.
type ram struct {
	blockSize uint32

	mu      sync.Mutex
	b       []byte
	flushes int
	unmaps  int
}

func newRAM(blockSize uint32, blocks int) *ram {
	return &ram{blockSize: blockSize, b: make([]byte, int(blockSize)*blocks)}
}

func (d *ram) Geometry() bdev.Geometry {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bdev.Geometry{BlockSizeBytes: d.blockSize, Blocks: uint64(len(d.b)) / uint64(d.blockSize)}
}

func (d *ram) Close() error { return nil }

func (d *ram) Submit(r *bdev.Request) { r.Complete(d.do(r)) }

func (d *ram) do(r *bdev.Request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, end := r.Block*uint64(d.blockSize), (r.Block+r.Count)*uint64(d.blockSize)
	switch r.Op {
	case bdev.OpRead:
		copy(r.Data, d.b[at:end])
	case bdev.OpWrite:
		copy(d.b[at:end], r.Data)
	case bdev.OpFlush:
		d.flushes++
	case bdev.OpWriteZeroes:
		clear(d.b[at:end])
	case bdev.OpUnmap:
		d.unmaps++
		clear(d.b[at:end])
	case bdev.OpCompare:
		if !bytes.Equal(d.b[at:end], r.Data) {
			return bdev.ErrCompare
		}
	default:
		return bdev.ErrOp
	}
	return nil
}

// mapped is a ram whose memory can be read in place.
type mapped struct{ *ram }

func (d mapped) Bytes(block, count uint64) []byte {
	return d.b[block*uint64(d.blockSize) : (block+count)*uint64(d.blockSize)]
}

// moody is a mapped whose memory cannot be had half of the time, as when a bdev has limits.
type moody struct {
	mapped
	calls *atomic.Int64
}

func (d moody) Bytes(block, count uint64) []byte {
	if d.calls.Add(1)%2 == 0 {
		return nil
	}
	return d.mapped.Bytes(block, count)
}

func (d moody) Submit(r *bdev.Request) {
	if r.Brief && d.calls.Add(1)%2 == 0 {
		r.Complete(bdev.ErrHeld)
		return
	}
	d.mapped.Submit(r)
}

// slow is a device that finishes its requests on another goroutine, and only when it may.
type slow struct {
	*ram
	gate chan struct{} // each token lets one request end; closed lets all
	wg   *sync.WaitGroup
}

func newSlow(d *ram) slow { return slow{ram: d, gate: make(chan struct{}), wg: &sync.WaitGroup{}} }

func (d slow) Submit(r *bdev.Request) {
	d.wg.Go(func() {
		<-d.gate
		r.Complete(d.do(r))
	})
}

// malloc returns a malloc bdev, open and claimed as an nvmf target does.
func malloc(tb testing.TB, name string, blockSize uint32, blocks uint64) *bdev.Desc {
	tb.Helper()
	r := bdev.NewRegistry()
	if _, err := bdev.CreateMalloc(r, bdev.MallocOptions{Name: name, BlockSizeBytes: blockSize, Blocks: blocks}); err != nil {
		tb.Fatal(err)
	}
	d, err := r.Open(name, true, bdev.Events{})
	must(tb, err)
	must(tb, d.Claim("NVMe-oF Target"))
	return d
}
