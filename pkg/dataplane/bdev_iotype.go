// SPDX-License-Identifier: Apache-2.0

package dataplane

import "github.com/opi-bridge/opi-bridge/pkg/bdev"

// ioTypes has a member for every request type there is. A struct is what lists of ten thousand bdevs
// are written fastest from.
type ioTypes struct {
	Read               bool `json:"read"`
	Write              bool `json:"write"`
	Unmap              bool `json:"unmap"`
	Flush              bool `json:"flush"`
	Reset              bool `json:"reset"`
	NVMeAdmin          bool `json:"nvme_admin"`
	NVMe               bool `json:"nvme_io"`
	NVMeMD             bool `json:"nvme_io_md"`
	WriteZeroes        bool `json:"write_zeroes"`
	ZeroCopy           bool `json:"zcopy"`
	ZoneInfo           bool `json:"get_zone_info"`
	ZoneManagement     bool `json:"zone_management"`
	ZoneAppend         bool `json:"zone_append"`
	Compare            bool `json:"compare"`
	CompareAndWrite    bool `json:"compare_and_write"`
	Abort              bool `json:"abort"`
	SeekHole           bool `json:"seek_hole"`
	SeekData           bool `json:"seek_data"`
	Copy               bool `json:"copy"`
	NVMeVectorMD       bool `json:"nvme_iov_md"`
	NVMeSubsystemReset bool `json:"nvme_nssr"`
	WriteUncorrectable bool `json:"write_uncorrectable"`
}

func newIOTypes(t bdev.IOTypes) ioTypes {
	return ioTypes{
		Read:               t.Has(bdev.IORead),
		Write:              t.Has(bdev.IOWrite),
		Unmap:              t.Has(bdev.IOUnmap),
		Flush:              t.Has(bdev.IOFlush),
		Reset:              t.Has(bdev.IOReset),
		NVMeAdmin:          t.Has(bdev.IONVMeAdmin),
		NVMe:               t.Has(bdev.IONVMe),
		NVMeMD:             t.Has(bdev.IONVMeMD),
		WriteZeroes:        t.Has(bdev.IOWriteZeroes),
		ZeroCopy:           t.Has(bdev.IOZeroCopy),
		ZoneInfo:           t.Has(bdev.IOZoneInfo),
		ZoneManagement:     t.Has(bdev.IOZoneManagement),
		ZoneAppend:         t.Has(bdev.IOZoneAppend),
		Compare:            t.Has(bdev.IOCompare),
		CompareAndWrite:    t.Has(bdev.IOCompareAndWrite),
		Abort:              t.Has(bdev.IOAbort),
		SeekHole:           t.Has(bdev.IOSeekHole),
		SeekData:           t.Has(bdev.IOSeekData),
		Copy:               t.Has(bdev.IOCopy),
		NVMeVectorMD:       t.Has(bdev.IONVMeVectorMD),
		NVMeSubsystemReset: t.Has(bdev.IONVMeSubsystemReset),
		WriteUncorrectable: t.Has(bdev.IOWriteUncorrectable),
	}
}
