// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// opCounter counts the successful requests of one kind. The zero value is ready.
type opCounter struct {
	ops, bytes, ticks, maxTicks atomic.Uint64
	// minTicks holds the complement of the shortest latency, so that zero means none.
	minTicks atomic.Uint64
}

func (c *opCounter) add(bytes, ticks uint64) {
	c.ops.Add(1)
	c.bytes.Add(bytes)
	c.ticks.Add(ticks)
	raise(&c.maxTicks, ticks)
	raise(&c.minTicks, ^ticks)
}

// raise sets v to x if x is larger.
func raise(v *atomic.Uint64, x uint64) {
	for {
		old := v.Load()
		if x <= old || v.CompareAndSwap(old, x) {
			return
		}
	}
}

// shard is a set of counters which few goroutines share.
type shard struct {
	read, write, unmap  opCounter
	failed, miscompared atomic.Uint64
	blockSize           uint64   // of the bdev; immutable
	_                   [48]byte // keeps neighbours off its last cache line
}

// finish counts a request that has ended. Flushes, compares and zeroes count only when they fail, as
// in SPDK.
func (s *shard) finish(op Op, blocks uint64, latency time.Duration, err error) {
	if err != nil {
		if errors.Is(err, ErrCompare) {
			s.miscompared.Add(1)
		} else {
			s.failed.Add(1)
		}
		return
	}
	ticks := uint64(max(latency, 0))
	switch op {
	case OpRead:
		s.read.add(blocks*s.blockSize, ticks)
	case OpWrite:
		s.write.add(blocks*s.blockSize, ticks)
	case OpUnmap:
		s.unmap.add(blocks*s.blockSize, ticks)
	case OpFlush, OpWriteZeroes, OpCompare:
	}
}

// shards are the counters of a descriptor: several, so that cores do not fight for a cache line.
type shards struct {
	set []shard // a power of two of them
}

func newShards(blockSize uint32) *shards {
	n := 1
	for n < runtime.GOMAXPROCS(0) && n < 8 {
		n *= 2
	}
	s := &shards{set: make([]shard, n)}
	for i := range s.set {
		s.set[i].blockSize = uint64(blockSize)
	}
	return s
}

// pick returns a shard for the request. The same request always gets the same one: requests are
// used again and again by the same few goroutines.
func (s *shards) pick(r *Request) *shard {
	h := uint64(uintptr(unsafe.Pointer(r))) * 0x9e3779b97f4a7c15 //nolint:gosec // only a number that differs from request to request
	return &s.set[int(h>>56)&(len(s.set)-1)]
}

// Counter counts what one user of a bdev moves without Submit. Its methods may be called
// concurrently, but are meant for one queue, so that queues do not share a cache line.
type Counter struct {
	stats *stats
	own   *shards
}

// CountRead counts one read of that many bytes that took the latency.
func (c *Counter) CountRead(bytes uint64, latency time.Duration) {
	c.own.set[0].read.add(bytes, uint64(max(latency, 0)))
}

// Close leaves what was counted to the bdev's statistics. Further counts are lost.
func (c *Counter) Close() { c.stats.fold(c.own) }
