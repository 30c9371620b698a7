// SPDX-License-Identifier: Apache-2.0

package nvme

import (
	"encoding/binary"
	"fmt"
)

// DSMRangeSize is the size of one range of Dataset Management in bytes (nvm figure 36).
const DSMRangeSize = 16

// DSMRange is one range of Dataset Management (nvm 3.2.3).
type DSMRange struct {
	// Attributes are hints.
	Attributes uint32
	// Blocks is the length and SLBA the start, in blocks.
	Blocks uint32
	SLBA   uint64
}

// DSMRanges is the number of ranges, 1 to 256.
func (e SQE) DSMRanges() int { return int(e.CDW(10)&0xFF) + 1 }

// DSMDeallocate says that the ranges are no longer wanted (attribute AD).
func (e SQE) DSMDeallocate() bool { return e.CDW(11)&4 != 0 }

// SetDSM fills in Dataset Management to deallocate n ranges, 1 to 256.
func (e SQE) SetDSM(n int) {
	e.SetOPC(IODSM)
	e.SetCDW(10, uint32(n-1)&0xFF) //nolint:gosec // masked
	e.SetCDW(11, 4)
}

// EncodeDSM appends ranges to b.
func EncodeDSM(b []byte, ranges []DSMRange) []byte {
	for _, r := range ranges {
		b = binary.LittleEndian.AppendUint32(b, r.Attributes)
		b = binary.LittleEndian.AppendUint32(b, r.Blocks)
		b = binary.LittleEndian.AppendUint64(b, r.SLBA)
	}
	return b
}

// DecodeDSM reads range i of b.
func DecodeDSM(b []byte, i int) (DSMRange, error) {
	if len(b) < (i+1)*DSMRangeSize {
		return DSMRange{}, fmt.Errorf("range %d is beyond the %d bytes of data: %w", i, len(b), ErrShort)
	}
	b = b[i*DSMRangeSize:]
	return DSMRange{
		Attributes: binary.LittleEndian.Uint32(b),
		Blocks:     binary.LittleEndian.Uint32(b[4:]),
		SLBA:       binary.LittleEndian.Uint64(b[8:]),
	}, nil
}
