// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

const (
	iopsPerKIOPS = 1000
	bytesPerMB   = 1000 * 1000
	bytesPerMiB  = 1 << 20
	// maxKIOPS and maxMBs keep the conversions below within 64 bits; no disk comes near either.
	maxKIOPS = 1 << 40
	maxMBs   = 1 << 40
)

// checkNoMinimum refuses guaranteed I/O, which SPDK does not have.
func checkNoMinimum(v *resource.Violations, field string, l *pb.QosLimit) {
	v.Check(unlimited(l), field, "SPDK has upper limits only, and guarantees no I/O: leave it unset")
}

// checkMaximum notes limits that SPDK does not have, and numbers that are none.
func checkMaximum(v *resource.Violations, field string, l *pb.QosLimit) {
	v.Check(l.GetRdIopsKiops() == 0, field+".rd_iops_kiops", "SPDK limits reads and writes together: use rw_iops_kiops")
	v.Check(l.GetWrIopsKiops() == 0, field+".wr_iops_kiops", "SPDK limits reads and writes together: use rw_iops_kiops")
	v.Check(within(l.GetRwIopsKiops(), 0, maxKIOPS), field+".rw_iops_kiops",
		"%d must be 0 for no limit, or the thousands of operations per second", l.GetRwIopsKiops())
	for _, bandwidth := range []struct {
		name  string
		value int64
	}{
		{"rw_bandwidth_mbs", l.GetRwBandwidthMbs()}, {"rd_bandwidth_mbs", l.GetRdBandwidthMbs()}, {"wr_bandwidth_mbs", l.GetWrBandwidthMbs()},
	} {
		v.Check(within(bandwidth.value, 0, maxMBs), field+"."+bandwidth.name,
			"%d must be 0 for no limit, or the megabytes (10^6 bytes) per second", bandwidth.value)
	}
}

// unlimited says whether no limit is set.
func unlimited(l *pb.QosLimit) bool {
	return l.GetRdIopsKiops() == 0 && l.GetWrIopsKiops() == 0 && l.GetRwIopsKiops() == 0 &&
		l.GetRdBandwidthMbs() == 0 && l.GetWrBandwidthMbs() == 0 && l.GetRwBandwidthMbs() == 0
}

// limits returns what SPDK is to hold for a limit on a bdev.
func limits(bdev string, l *pb.QosLimit) *driver.Limits {
	return &driver.Limits{
		Bdev:      bdev,
		IOPS:      uint64(l.GetRwIopsKiops()) * iopsPerKIOPS, //nolint:gosec // bounded by Check
		MiBs:      mebibytes(l.GetRwBandwidthMbs()),
		ReadMiBs:  mebibytes(l.GetRdBandwidthMbs()),
		WriteMiBs: mebibytes(l.GetWrBandwidthMbs()),
	}
}

// mebibytes turns megabytes into SPDK's unit, to the nearest: that is never more than 5 % off. Downwards,
// 2 MB would be half of what was asked for.
func mebibytes(mb int64) uint64 {
	return (uint64(mb)*bytesPerMB + bytesPerMiB/2) / bytesPerMiB //nolint:gosec // bounded by Check
}

// limitsHold says that a bdev's limits have one owner.
func limitsHold(field, bdev string) resource.Hold {
	return resource.Hold{
		Token: "limits/" + bdev, Field: field, What: "the one set of I/O limits of volume " + bdev, Class: errdefs.FailedPrecondition,
	}
}

// limitFields lists the paths of the fields of a limit.
func limitFields(prefix string) []string {
	var paths []string
	for _, name := range []string{
		"rd_iops_kiops", "wr_iops_kiops", "rw_iops_kiops", "rd_bandwidth_mbs", "wr_bandwidth_mbs", "rw_bandwidth_mbs",
	} {
		paths = append(paths, prefix+"."+name)
	}
	return paths
}
