// SPDX-License-Identifier: Apache-2.0

package nvme

import (
	"encoding/binary"
	"fmt"
)

// NamespaceListMax is the number of identifiers that a namespace list holds (base 4.4.1).
const NamespaceListMax = 1024

// EncodeNamespaceList writes at most NamespaceListMax ascending identifiers to b, which must hold
// IdentifySize bytes, and fills up with zeroes (base 4.4.1).
func EncodeNamespaceList(b []byte, nsids []uint32) {
	clear(b[:IdentifySize])
	for i, id := range nsids[:min(len(nsids), NamespaceListMax)] {
		binary.LittleEndian.PutUint32(b[4*i:], id)
	}
}

// DecodeNamespaceList reads a namespace list up to its first zero (base 4.4.1).
func DecodeNamespaceList(b []byte) ([]uint32, error) {
	if len(b) < IdentifySize {
		return nil, fmt.Errorf("namespace list is %d bytes, need %d: %w", len(b), IdentifySize, ErrShort)
	}
	var ids []uint32
	for i := range NamespaceListMax {
		id := binary.LittleEndian.Uint32(b[4*i:])
		if id == 0 {
			break
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Types of namespace identification descriptors (base figure 277).
const (
	nidtEUI64 uint8 = 1
	nidtNGUID uint8 = 2
	nidtUUID  uint8 = 3
	nidtCSI   uint8 = 4
)

// Descriptors are the namespace identification descriptors (base 5.17.2.3). What is all
// zero is left out on the wire: an identifier that does not exist, and the NVM command set.
type Descriptors struct {
	EUI64       [8]byte
	NGUID, UUID [16]byte
	CSI         uint8
}

// Encode writes d to b, which must hold IdentifySize bytes.
func (d *Descriptors) Encode(b []byte) {
	clear(b[:IdentifySize])
	at := 0
	put := func(kind uint8, id []byte) {
		b[at], b[at+1] = kind, uint8(len(id)) //nolint:gosec // at most 16
		copy(b[at+4:], id)
		at += 4 + len(id)
	}
	if d.EUI64 != [8]byte{} {
		put(nidtEUI64, d.EUI64[:])
	}
	if d.NGUID != [16]byte{} {
		put(nidtNGUID, d.NGUID[:])
	}
	if d.UUID != [16]byte{} {
		put(nidtUUID, d.UUID[:])
	}
	if d.CSI != CSINVM {
		put(nidtCSI, []byte{d.CSI})
	}
}

// DecodeDescriptors reads what Identify with CNSDescriptors returned. Descriptors of unknown type
// are passed over; a known one of another length, or one that runs over the end, is an error.
func DecodeDescriptors(b []byte) (Descriptors, error) {
	var d Descriptors
	if len(b) < IdentifySize {
		return d, fmt.Errorf("descriptor list is %d bytes, need %d: %w", len(b), IdentifySize, ErrShort)
	}
	for b = b[:IdentifySize]; len(b) > 4 && b[0] != 0; {
		kind, n := b[0], int(b[1])
		if n == 0 || 4+n > len(b) {
			return d, fmt.Errorf("descriptor type %d has length %d: %w", kind, n, ErrDescriptor)
		}
		var into []byte
		switch kind {
		case nidtEUI64:
			into = d.EUI64[:]
		case nidtNGUID:
			into = d.NGUID[:]
		case nidtUUID:
			into = d.UUID[:]
		case nidtCSI:
			into = []byte{0}
		}
		if into != nil && len(into) != n {
			return d, fmt.Errorf("descriptor type %d has length %d, want %d: %w", kind, n, len(into), ErrDescriptor)
		}
		copy(into, b[4:4+n])
		if kind == nidtCSI {
			d.CSI = into[0]
		}
		b = b[4+n:]
	}
	return d, nil
}
