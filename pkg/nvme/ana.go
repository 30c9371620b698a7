// SPDX-License-Identifier: Apache-2.0

package nvme

import (
	"encoding/binary"
	"fmt"
)

// ANAState is an asymmetric namespace access state (base 8.1).
type ANAState uint8

// The states.
const (
	ANAOptimized      ANAState = 0x01
	ANANonOptimized   ANAState = 0x02
	ANAInaccessible   ANAState = 0x03
	ANAPersistentLoss ANAState = 0x04
	ANAChange         ANAState = 0x0F
)

// Bits of ANACAP (base figure 275).
const (
	ANACAPOptimized    uint8 = 1 << 0
	ANACAPNonOptimized uint8 = 1 << 1
	ANACAPInaccessible uint8 = 1 << 2
	ANACAPGroupStatic  uint8 = 1 << 6
)

// ANAGroup is one group of the ANA log page (base figure 223).
type ANAGroup struct {
	ANAGRPID    uint32
	ChangeCount uint64
	State       ANAState
	// NSIDs are the namespaces of the group; empty when only groups were asked for.
	NSIDs []uint32
}

const (
	anaHeader = 16
	anaGroup  = 32
)

// EncodeANA returns log page LogANA (base 5.16.1.13).
func EncodeANA(changeCount uint64, groups []ANAGroup) []byte {
	b := make([]byte, anaHeader, anaHeader+len(groups)*(anaGroup+4))
	binary.LittleEndian.PutUint64(b, changeCount)
	binary.LittleEndian.PutUint16(b[8:], uint16(len(groups))) //nolint:gosec // as many as there are namespaces, bounded by the target
	for _, g := range groups {
		var h [anaGroup]byte
		binary.LittleEndian.PutUint32(h[0:], g.ANAGRPID)
		binary.LittleEndian.PutUint32(h[4:], uint32(len(g.NSIDs))) //nolint:gosec // as above
		binary.LittleEndian.PutUint64(h[8:], g.ChangeCount)
		h[16] = uint8(g.State)
		b = append(b, h[:]...)
		for _, id := range g.NSIDs {
			b = binary.LittleEndian.AppendUint32(b, id)
		}
	}
	return b
}

// DecodeANA reads log page LogANA. The number of groups and of namespaces is believed only as far
// as b is long.
func DecodeANA(b []byte) (changeCount uint64, groups []ANAGroup, err error) {
	if len(b) < anaHeader {
		return 0, nil, fmt.Errorf("ANA log is %d bytes, need %d: %w", len(b), anaHeader, ErrShort)
	}
	changeCount = binary.LittleEndian.Uint64(b)
	n := int(binary.LittleEndian.Uint16(b[8:]))
	b = b[anaHeader:]
	for range n {
		if len(b) < anaGroup {
			return 0, nil, fmt.Errorf("ANA log ends within group %d of %d: %w", len(groups), n, ErrShort)
		}
		g := ANAGroup{
			ANAGRPID:    binary.LittleEndian.Uint32(b),
			ChangeCount: binary.LittleEndian.Uint64(b[8:]),
			State:       ANAState(b[16] & 0xF),
		}
		count := uint64(binary.LittleEndian.Uint32(b[4:]))
		b = b[anaGroup:]
		if count*4 > uint64(len(b)) {
			return 0, nil, fmt.Errorf("ANA group %d has %d namespaces, more than the log holds: %w", g.ANAGRPID, count, ErrShort)
		}
		for ; count > 0; count-- {
			g.NSIDs = append(g.NSIDs, binary.LittleEndian.Uint32(b))
			b = b[4:]
		}
		groups = append(groups, g)
	}
	return changeCount, groups, nil
}
