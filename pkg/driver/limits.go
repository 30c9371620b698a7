// SPDX-License-Identifier: Apache-2.0

package driver

// TypeLimits is the I/O limits of one bdev.
const TypeLimits Type = "limits"

// Limits bound the I/O of a bdev. Zero means no limit of that sort; all zero is no Limits at all.
type Limits struct {
	// Bdev is the name of the bdev.
	Bdev string
	// IOPS bounds reads and writes together, per second. SPDK rounds up to a multiple of 1000, so only
	// such multiples are ever observed.
	IOPS uint64
	// MiBs, ReadMiBs and WriteMiBs bound the bandwidth of all, reads and writes, in MiB per second.
	MiBs, ReadMiBs, WriteMiBs uint64
}

// LimitsKey returns the key of the limits of the bdev with that name.
func LimitsKey(bdev string) Key { return Key{TypeLimits, bdev} }

// Key implements [Object].
func (l *Limits) Key() Key { return LimitsKey(l.Bdev) }

// Needs implements [Object].
func (l *Limits) Needs() []Key { return []Key{BdevKey(l.Bdev)} }

// Differences implements [Object].
func (l *Limits) Differences(observed Object) []string {
	o, ok := observed.(*Limits)
	if !ok {
		return []string{"type"}
	}
	var d differ
	d.check("rw_ios_per_sec", l.IOPS == o.IOPS)
	d.check("rw_mbytes_per_sec", l.MiBs == o.MiBs)
	d.check("r_mbytes_per_sec", l.ReadMiBs == o.ReadMiBs)
	d.check("w_mbytes_per_sec", l.WriteMiBs == o.WriteMiBs)
	return d.found
}

// Remedy implements [Object].
func (l *Limits) Remedy([]string) Remedy { return RemedyUpdate }
