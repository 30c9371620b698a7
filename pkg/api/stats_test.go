// SPDX-License-Identifier: Apache-2.0

package api

import (
	"math"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

func TestCountersSaturate(t *testing.T) {
	t.Parallel()
	for in, want := range map[uint64]int32{
		0: 0, 1: 1, math.MaxInt32: math.MaxInt32, math.MaxInt32 + 1: math.MaxInt32,
		math.MaxUint32 + 7: math.MaxInt32, math.MaxUint64: math.MaxInt32,
	} {
		s := driver.IOStats{
			ReadBytes: in, ReadOps: in, WriteBytes: in, WriteOps: in, UnmapBytes: in, UnmapOps: in,
			ReadLatencyTicks: in, WriteLatencyTicks: in, UnmapLatencyTicks: in,
		}
		stats := volumeStats(s).ProtoReflect()
		for i := range stats.Descriptor().Fields().Len() {
			fd := stats.Descriptor().Fields().Get(i)
			if got := stats.Get(fd).Int(); got != int64(want) {
				t.Errorf("%s of %d is %d, want %d", fd.Name(), in, got, want)
			}
		}
	}
}
