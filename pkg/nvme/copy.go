// SPDX-License-Identifier: Apache-2.0

package nvme

import (
	"encoding/binary"
	"fmt"
)

// CopyRangeSize is the size of one source range of Copy in format 0, in bytes (nvm figure 41).
const CopyRangeSize = 32

// CopyRange is one source range of Copy in format 0 (nvm 3.2.2).
type CopyRange struct {
	// SLBA is the first block and Blocks the number of blocks, 1 to 65536.
	SLBA   uint64
	Blocks uint32
}

// CopyRanges is the number of source ranges of Copy, 1 to 256.
func (e SQE) CopyRanges() int { return int(e.CDW(12)&0xFF) + 1 }

// CopyFormat is the format of the source ranges.
func (e SQE) CopyFormat() uint8 { return uint8(e.CDW(12) >> 8 & 0xF) }

// SetCopy fills in Copy of n source ranges in format 0, 1 to 256, to a first block.
func (e SQE) SetCopy(to uint64, n int) {
	e.SetOPC(IOCopy)
	e.SetSLBA(to)
	e.SetCDW(12, uint32(n-1)&0xFF) //nolint:gosec // masked
}

// EncodeCopy appends source ranges in format 0 to b.
func EncodeCopy(b []byte, ranges []CopyRange) []byte {
	for _, r := range ranges {
		var e [CopyRangeSize]byte
		binary.LittleEndian.PutUint64(e[8:], r.SLBA)
		binary.LittleEndian.PutUint16(e[16:], uint16(r.Blocks-1)) //nolint:gosec // the range is the contract
		b = append(b, e[:]...)
	}
	return b
}

// DecodeCopy reads source range i of b in format 0.
func DecodeCopy(b []byte, i int) (CopyRange, error) {
	if len(b) < (i+1)*CopyRangeSize {
		return CopyRange{}, fmt.Errorf("range %d is beyond the %d bytes of data: %w", i, len(b), ErrShort)
	}
	b = b[i*CopyRangeSize:]
	return CopyRange{SLBA: binary.LittleEndian.Uint64(b[8:]), Blocks: uint32(binary.LittleEndian.Uint16(b[16:])) + 1}, nil
}
