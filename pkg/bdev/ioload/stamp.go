// SPDX-License-Identifier: Apache-2.0

package ioload

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A stamped block tells where it belongs and when it was written:
//
//	0   magic
//	8   seed
//	16  block number
//	24  generation
//	32  pattern made of the three
//	-4  CRC32C of everything before
const (
	stampMagic = 0x6f70692d696f6c64 // "opi-iold" read as a number
	stampHead  = 32
	stampTail  = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stamp fills one block.
func stamp(b []byte, seed, block, generation uint64) {
	binary.LittleEndian.PutUint64(b, stampMagic)
	binary.LittleEndian.PutUint64(b[8:], seed)
	binary.LittleEndian.PutUint64(b[16:], block)
	binary.LittleEndian.PutUint64(b[24:], generation)
	word := seed ^ block*0x9e3779b97f4a7c15 ^ generation*0xc2b2ae3d27d4eb4f
	body := b[stampHead : len(b)-stampTail]
	for len(body) >= 8 {
		binary.LittleEndian.PutUint64(body, word)
		word += 0x9e3779b97f4a7c15
		body = body[8:]
	}
	clear(body)
	binary.LittleEndian.PutUint32(b[len(b)-stampTail:], crc32.Checksum(b[:len(b)-stampTail], castagnoli))
}

// Fault says how a block differs from what it should be.
type Fault string

// The faults.
const (
	// FaultNoStamp: the block was never written by a load, or its beginning is gone (a lost write).
	FaultNoStamp Fault = "not stamped"
	// FaultTorn: the block is a mixture, or damaged.
	FaultTorn Fault = "torn or damaged"
	// FaultForeign: the block was written by a load with another seed.
	FaultForeign Fault = "of another load"
	// FaultMisplaced: the block belongs elsewhere.
	FaultMisplaced Fault = "misplaced"
	// FaultStale: the block is older than what was acknowledged.
	FaultStale Fault = "stale"
	// FaultFuture: the block is newer than anything that was written.
	FaultFuture Fault = "from a write that was never made"
)

// Mismatch is a block that is not as it should be.
type Mismatch struct {
	// Block is its number on the device.
	Block uint64
	Fault Fault
	// Want and Got are generations; Got is 0 if the block does not say.
	Want, Got uint64
}

// String says what is wrong.
func (m Mismatch) String() string {
	return fmt.Sprintf("block %d is %s: generation %d, want %d", m.Block, m.Fault, m.Got, m.Want)
}

// inspect says what is wrong with a block, or "". Generations from low to high are right.
func inspect(b []byte, seed, block, low, high uint64) (Fault, uint64) {
	if binary.LittleEndian.Uint64(b) != stampMagic {
		return FaultNoStamp, 0
	}
	if crc32.Checksum(b[:len(b)-stampTail], castagnoli) != binary.LittleEndian.Uint32(b[len(b)-stampTail:]) {
		return FaultTorn, 0
	}
	generation := binary.LittleEndian.Uint64(b[24:])
	switch {
	case binary.LittleEndian.Uint64(b[8:]) != seed:
		return FaultForeign, generation
	case binary.LittleEndian.Uint64(b[16:]) != block:
		return FaultMisplaced, generation
	case generation < low:
		return FaultStale, generation
	case generation > high:
		return FaultFuture, generation
	}
	return "", generation
}
