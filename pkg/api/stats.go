// SPDX-License-Identifier: Apache-2.0

package api

import (
	"math"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// volumeStats returns counters in the API's 32 bits. A count that does not fit stays at the largest
// value, so that it never seems to run backwards.
func volumeStats(s driver.IOStats) *pb.VolumeStats {
	return &pb.VolumeStats{
		ReadBytesCount:    saturate(s.ReadBytes),
		ReadOpsCount:      saturate(s.ReadOps),
		WriteBytesCount:   saturate(s.WriteBytes),
		WriteOpsCount:     saturate(s.WriteOps),
		UnmapBytesCount:   saturate(s.UnmapBytes),
		UnmapOpsCount:     saturate(s.UnmapOps),
		ReadLatencyTicks:  saturate(s.ReadLatencyTicks),
		WriteLatencyTicks: saturate(s.WriteLatencyTicks),
		UnmapLatencyTicks: saturate(s.UnmapLatencyTicks),
	}
}

func saturate(n uint64) int32 {
	if n > math.MaxInt32 {
		return math.MaxInt32
	}
	return int32(n)
}
