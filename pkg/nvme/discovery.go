// SPDX-License-Identifier: Apache-2.0

package nvme

import "fmt"

// Sizes of the discovery log page in bytes (base 5.16.1.23).
const (
	DiscoveryHeaderSize = 1024
	DiscoveryEntrySize  = 1024
)

// Values of fields of DiscoveryEntry (base figure 264; tcp 3.1.1).
const (
	TRTYPETCP               uint8  = 3
	ADRFAMIPv4              uint8  = 1
	ADRFAMIPv6              uint8  = 2
	SubtypeReferral         uint8  = 1
	SubtypeNVM              uint8  = 2
	SubtypeDiscovery        uint8  = 3
	TREQSecureRequired      uint8  = 1
	TREQSecureNotRequired   uint8  = 2
	SECTYPETLS13            uint8  = 2
	EFLAGSDuplicate         uint16 = 1 << 0
	EFLAGSPersistentSupport uint16 = 1 << 1
)

// DiscoveryHeader is the head of the discovery log page (base figure 263).
type DiscoveryHeader struct {
	// GENCTR changes whenever the log changes.
	GENCTR uint64
	// NUMREC is the number of entries that follow.
	NUMREC uint64
	RECFMT uint16
}

func (d *DiscoveryHeader) visit(c *codec) {
	c.u64(0, &d.GENCTR)
	c.u64(8, &d.NUMREC)
	c.u16(16, &d.RECFMT)
}

// Encode writes d to b, which must hold DiscoveryHeaderSize bytes.
func (d *DiscoveryHeader) Encode(b []byte) { encode(d, b, DiscoveryHeaderSize) }

// DecodeDiscoveryHeader reads the head of log page LogDiscovery.
func DecodeDiscoveryHeader(b []byte) (DiscoveryHeader, error) {
	var d DiscoveryHeader
	return d, decode(&d, b, DiscoveryHeaderSize, "discovery log header")
}

// DiscoveryEntry is one entry of the discovery log page (base figure 264).
type DiscoveryEntry struct {
	TRTYPE, ADRFAM, SUBTYPE, TREQ uint8
	PORTID, CNTLID, ASQSZ, EFLAGS uint16
	// TRSVCID is the port in decimal, SUBNQN the subsystem, TRADDR the address.
	TRSVCID, SUBNQN, TRADDR string
	// SECTYPE is 0 for plain TCP, or SECTYPETLS13 (tcp 3.1.1).
	SECTYPE uint8
}

func (d *DiscoveryEntry) visit(c *codec) {
	c.u8(0, &d.TRTYPE)
	c.u8(1, &d.ADRFAM)
	c.u8(2, &d.SUBTYPE)
	c.u8(3, &d.TREQ)
	c.u16(4, &d.PORTID)
	c.u16(6, &d.CNTLID)
	c.u16(8, &d.ASQSZ)
	c.u16(10, &d.EFLAGS)
	c.str(32, 32, ' ', &d.TRSVCID)
	c.str(256, nqnField, 0, &d.SUBNQN)
	c.str(512, 256, ' ', &d.TRADDR)
	c.u8(768, &d.SECTYPE)
}

// Encode writes d to b, which must hold DiscoveryEntrySize bytes.
func (d *DiscoveryEntry) Encode(b []byte) { encode(d, b, DiscoveryEntrySize) }

// DecodeDiscoveryEntry reads one entry.
func DecodeDiscoveryEntry(b []byte) (DiscoveryEntry, error) {
	var d DiscoveryEntry
	return d, decode(&d, b, DiscoveryEntrySize, "discovery log entry")
}

// EncodeDiscovery returns a whole discovery log page.
func EncodeDiscovery(genctr uint64, entries []DiscoveryEntry) []byte {
	b := make([]byte, DiscoveryHeaderSize+len(entries)*DiscoveryEntrySize)
	h := DiscoveryHeader{GENCTR: genctr, NUMREC: uint64(len(entries))}
	h.Encode(b)
	for i := range entries {
		entries[i].Encode(b[DiscoveryHeaderSize+i*DiscoveryEntrySize:])
	}
	return b
}

// DecodeDiscovery reads a whole discovery log page. It takes as many entries as NUMREC says, and
// fails when b does not hold them.
func DecodeDiscovery(b []byte) (genctr uint64, entries []DiscoveryEntry, err error) {
	h, err := DecodeDiscoveryHeader(b)
	if err != nil {
		return 0, nil, err
	}
	b = b[DiscoveryHeaderSize:]
	if h.NUMREC > uint64(len(b)/DiscoveryEntrySize) {
		return 0, nil, fmt.Errorf("discovery log has %d entries, buffer holds %d: %w", h.NUMREC, len(b)/DiscoveryEntrySize, ErrShort)
	}
	for ; h.NUMREC > 0; h.NUMREC-- {
		e, err := DecodeDiscoveryEntry(b)
		if err != nil {
			return 0, nil, err
		}
		entries = append(entries, e)
		b = b[DiscoveryEntrySize:]
	}
	return h.GENCTR, entries, nil
}
