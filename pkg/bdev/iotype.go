// SPDX-License-Identifier: Apache-2.0

package bdev

// IOTypes is the set of request types that a bdev offers, by SPDK's names.
type IOTypes uint32

// The request types, in the order in which SPDK lists them.
const (
	IORead IOTypes = 1 << iota
	IOWrite
	IOUnmap
	IOFlush
	IOReset
	IONVMeAdmin
	IONVMe
	IONVMeMD
	IOWriteZeroes
	IOZeroCopy
	IOZoneInfo
	IOZoneManagement
	IOZoneAppend
	IOCompare
	IOCompareAndWrite
	IOAbort
	IOSeekHole
	IOSeekData
	IOCopy
	IONVMeVectorMD
	IONVMeSubsystemReset
	IOWriteUncorrectable
)

// Has says whether all of t2 is in the set.
func (t IOTypes) Has(t2 IOTypes) bool { return t&t2 == t2 }

// Each calls visit for every request type there is, in SPDK's order, with the name that SPDK uses
// for it in supported_io_types and whether it is in the set.
func (t IOTypes) Each(visit func(name string, supported bool)) {
	names := [...]string{
		"read", "write", "unmap", "flush", "reset", "nvme_admin", "nvme_io", "nvme_io_md", "write_zeroes",
		"zcopy", "get_zone_info", "zone_management", "zone_append", "compare", "compare_and_write", "abort",
		"seek_hole", "seek_data", "copy", "nvme_iov_md", "nvme_nssr", "write_uncorrectable",
	}
	for i, name := range names {
		visit(name, t&(1<<i) != 0)
	}
}
