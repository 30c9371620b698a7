// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"encoding/binary"
	"math/bits"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// Types of requests, and how they end (virtio 1.2, section 5.2.6).
const (
	typeIn          = 0
	typeOut         = 1
	typeFlush       = 4
	typeGetID       = 8
	typeDiscard     = 11
	typeWriteZeroes = 13

	statusOK    = 0
	statusIOErr = 1
	statusUnsup = 2
)

const (
	sectorBytes = 512
	// blkHeaderBytes is the head of a request: type, reserved, sector.
	blkHeaderBytes = 16
	// rangeBytes is one range of a discard: sector, number of sectors, flags.
	rangeBytes = 16
	// rangeUnmap is the only flag of a range.
	rangeUnmap = 1
	// idBytes is the length of a device's name in the answer to typeGetID.
	idBytes = 20
)

// What the config space says about sizes. A front end that says otherwise is served nevertheless.
const (
	sizeMax = 128 << 10
	// segMax leaves room for head and status in a ring of 128.
	segMax = 126
	// maxRangeSectors is the largest range of a discard: 2 GiB.
	maxRangeSectors = 1 << 22
	// maxRanges is the number of ranges in a discard.
	maxRanges = 16
)

// configBytes is the length of the config space, up to discard and write zeroes.
const configBytes = 60

// configSpace is what a driver learns about the device (virtio 1.2, section 5.2.4).
func configSpace(g bdev.Geometry, features uint64) [configBytes]byte {
	var c [configBytes]byte
	le := binary.LittleEndian
	le.PutUint64(c[0:], g.Blocks*uint64(g.BlockSizeBytes/sectorBytes))
	le.PutUint32(c[8:], sizeMax)
	le.PutUint32(c[12:], segMax)
	le.PutUint32(c[20:], g.BlockSizeBytes)
	le.PutUint16(c[26:], 1) // the smallest good request, in blocks
	le.PutUint16(c[34:], maxQueues)
	align := g.BlockSizeBytes / sectorBytes
	if features&blkDiscard != 0 {
		le.PutUint32(c[36:], maxRangeSectors)
		le.PutUint32(c[40:], maxRanges)
		le.PutUint32(c[44:], align)
		c[56] = 1 // zeroes may be written by giving blocks back
	}
	if features&blkWriteZeroes != 0 {
		le.PutUint32(c[48:], maxRangeSectors)
		le.PutUint32(c[52:], maxRanges)
	}
	return c
}

// blockFeatures says what the device can do.
func blockFeatures(types bdev.IOTypes, readOnly bool) uint64 {
	f := uint64(blkSizeMax | blkSegMax | blkBlkSize | blkTopology | blkMQ)
	if types.Has(bdev.IOFlush) {
		f |= blkFlush
	}
	if readOnly {
		return f | blkRO
	}
	if types.Has(bdev.IOUnmap) {
		f |= blkDiscard
	}
	if types.Has(bdev.IOWriteZeroes) {
		f |= blkWriteZeroes
	}
	return f
}

// blocks turns sectors into blocks; false means that they are not whole ones, or beyond counting.
func blocks(g bdev.Geometry, sector, sectors uint64) (block, count uint64, ok bool) {
	per := uint64(g.BlockSizeBytes / sectorBytes)
	if per == 0 || sector%per != 0 || sectors%per != 0 {
		return 0, 0, false
	}
	return sector / per, sectors / per, true
}

// within says whether a range lies within the device.
func within(g bdev.Geometry, block, count uint64) bool {
	end, carry := bits.Add64(block, count, 0)
	return carry == 0 && end <= g.Blocks
}
