// SPDX-License-Identifier: Apache-2.0

package bdev

import "github.com/google/uuid"

// Spec is what a module says about a device when it registers it. Nothing in it changes afterwards,
// except what Device.Geometry and DriverSpecific return.
type Spec struct {
	// Name is required, and unique among the names, aliases and uuids of all bdevs.
	Name string
	// Aliases are further names. The uuid is an alias without being listed here.
	Aliases []string
	// UUID identifies the device. The nil UUID stands for a random one.
	UUID uuid.UUID
	// Module is the kind of the device ("malloc"). Only the same module can delete it.
	Module string
	// Product is the name of the kind for people, as SPDK spells it ("Malloc disk").
	Product string
	// Metadata describes the metadata of the blocks; the zero value means none.
	Metadata Metadata
	// Hints are sizes and alignments which users do well to respect, zero where there is nothing to say.
	Hints Hints
	// IOTypes is the set of request types which bdev_get_bdevs shows. Devices take all operations.
	IOTypes IOTypes
	// WriteCache says that a write is durable only after a flush.
	WriteCache bool
	// NUMA says that the device belongs to a NUMA node, the unknown one (-1) included.
	NUMA bool
	// MemoryDomains names the kinds of memory which the device can move data to ("DMA").
	MemoryDomains []string
	// DriverSpecific returns what the module tells about the device, ready for encoding/json. It is
	// called for each Info, on any goroutine and without locks of the registry; nil means nothing.
	DriverSpecific func() any
	// Device does the work. The registry closes it after the last opener has let go.
	Device Device
}

// Metadata is the shape of the bytes that accompany each block.
type Metadata struct {
	// SizeBytes is the number of metadata bytes of a block.
	SizeBytes uint32
	// Interleaved says that they follow the data within the block, and count in its size.
	Interleaved bool
	// DIFType is the type of protection information, 0 (none) to 3.
	DIFType uint32
	// DIFAtHead says that protection information comes first in the metadata, not last.
	DIFAtHead bool
	// DIFFormat is the number of the protection information format.
	DIFFormat uint32
}

// Hints are in blocks of the device.
type Hints struct {
	// PreferredWriteAlignment and PreferredWriteGranularity are for cheap writes.
	PreferredWriteAlignment, PreferredWriteGranularity uint32
	// OptimalWriteSize is a good size of a write.
	OptimalWriteSize uint32
	// PreferredUnmapAlignment and PreferredUnmapGranularity are for deallocation that takes effect.
	PreferredUnmapAlignment, PreferredUnmapGranularity uint32
}

// Info is a snapshot of a registered bdev. Its slices are the caller's.
type Info struct {
	// Name, Module, Product, UUID, Metadata, Hints, IOTypes, WriteCache, NUMA and MemoryDomains are as
	// in the Spec, the uuid drawn if need be.
	Name          string
	Module        string
	Product       string
	UUID          uuid.UUID
	Metadata      Metadata
	Hints         Hints
	IOTypes       IOTypes
	WriteCache    bool
	NUMA          bool
	MemoryDomains []string
	// Aliases are all names besides Name, the uuid (lower case) first unless it is the name.
	Aliases []string
	// Geometry is the shape at the moment of asking.
	Geometry Geometry
	// ClaimedBy names who holds the claim, "" when nobody does.
	ClaimedBy string
	// Openers is the number of descriptors.
	Openers int
	// Limits are those set by Registry.SetLimits.
	Limits Limits
	// DriverSpecific is what the module tells, or nil.
	DriverSpecific any
}

// Claimed says whether somebody holds the claim.
func (i *Info) Claimed() bool { return i.ClaimedBy != "" }

// ClaimType is SPDK's name of the kind of claim, "" when there is none.
func (i *Info) ClaimType() string {
	if !i.Claimed() {
		return ""
	}
	return "exclusive_write"
}
