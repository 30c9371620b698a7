// SPDX-License-Identifier: Apache-2.0

package ioload

import (
	"math/bits"
	"time"
)

// Histogram counts latencies with an error of at most one part in 32. The zero value is ready. It is
// not safe for concurrent use.
type Histogram struct {
	counts [64 * subBuckets]uint64
	total  uint64
	sum    uint64
	max    uint64
}

const (
	subBits    = 5
	subBuckets = 1 << subBits
)

// bucket returns the index for a value: 32 buckets for each power of two.
func bucket(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift*subBuckets + int(v>>shift) //nolint:gosec // below 64
}

// ceiling returns the largest value of a bucket.
func ceiling(i int) uint64 {
	if i < 2*subBuckets {
		return uint64(i) //nolint:gosec // small
	}
	shift := i/subBuckets - 1
	low := uint64(i%subBuckets+subBuckets) << shift
	return low + 1<<shift - 1
}

func (h *Histogram) add(d time.Duration) {
	v := uint64(max(d, 0))
	h.counts[bucket(v)]++
	h.total++
	h.sum += v
	h.max = max(h.max, v)
}

// Count is the number of latencies.
func (h *Histogram) Count() uint64 { return h.total }

// Mean is the mean latency, 0 without any.
func (h *Histogram) Mean() time.Duration {
	if h.total == 0 {
		return 0
	}
	return time.Duration(h.sum / h.total) //nolint:gosec // not above the longest
}

// Max is the longest latency.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max) } //nolint:gosec // was one

// Percentile returns the latency that p percent (0 to 100) of all do not exceed, 0 without any.
func (h *Histogram) Percentile(p float64) time.Duration {
	rank := uint64(p / 100 * float64(h.total))
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if n > 0 && seen > min(rank, h.total-1) {
			return time.Duration(min(ceiling(i), h.max)) //nolint:gosec // not above the longest
		}
	}
	return 0
}
