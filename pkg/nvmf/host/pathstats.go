// SPDX-License-Identifier: Apache-2.0

package host

import (
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// pathStats counts the I/O of a namespace over one path. It is used only when asked for, so a lock
// is cheap enough.
type pathStats struct {
	mu sync.Mutex
	// sums is guarded by mu.
	sums bdev.Stats
}

func (s *pathStats) add(op bdev.Op, bytes uint64, latency time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var o *bdev.OpStats
	switch op {
	case bdev.OpRead:
		o = &s.sums.Read
	case bdev.OpWrite:
		o = &s.sums.Write
	case bdev.OpUnmap:
		o = &s.sums.Unmap
	default:
		return
	}
	ticks := uint64(max(latency, 1))
	if o.Ops == 0 || ticks < o.MinTicks {
		o.MinTicks = ticks
	}
	o.Ops++
	o.Bytes += bytes
	o.LatencyTicks += ticks
	o.MaxTicks = max(o.MaxTicks, ticks)
}

func (s *pathStats) snapshot() bdev.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sums
}
