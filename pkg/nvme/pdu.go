// SPDX-License-Identifier: Apache-2.0

package nvme

import "encoding/binary"

// PDUType is the type of an NVMe/TCP PDU (tcp figure 17).
type PDUType uint8

// The PDU types.
const (
	PDUICReq       PDUType = 0x00
	PDUICResp      PDUType = 0x01
	PDUH2CTermReq  PDUType = 0x02
	PDUC2HTermReq  PDUType = 0x03
	PDUCapsuleCmd  PDUType = 0x04
	PDUCapsuleResp PDUType = 0x05
	PDUH2CData     PDUType = 0x06
	PDUC2HData     PDUType = 0x07
	PDUR2T         PDUType = 0x09
)

// Flags of the common header (tcp 3.6.2).
const (
	FlagHDGST   uint8 = 1 << 0
	FlagDDGST   uint8 = 1 << 1
	FlagLast    uint8 = 1 << 2
	FlagSuccess uint8 = 1 << 3
)

// Sizes in bytes (tcp 3.6.2).
const (
	// CHSize is the size of the common header.
	CHSize = 8
	// PDUHeaderMax is the size of the longest header, that of ICReq and ICResp.
	PDUHeaderMax = 128
	// TermReqMax is the longest terminate connection request.
	TermReqMax = 152

	icSize      = 128
	termSize    = 24
	capsuleSize = 72
	shortSize   = 24
)

// HeaderSize returns the length of the header of a PDU of type t, 0 for an unknown type.
func (t PDUType) HeaderSize() int {
	switch t {
	case PDUICReq, PDUICResp:
		return icSize
	case PDUCapsuleCmd:
		return capsuleSize
	case PDUH2CTermReq, PDUC2HTermReq:
		return termSize
	case PDUCapsuleResp, PDUH2CData, PDUC2HData, PDUR2T:
		return shortSize
	default:
		return 0
	}
}

// hasDigests says whether digests apply to the type once they are negotiated (tcp 3.3.1).
func (t PDUType) hasDigests() bool {
	return t != PDUICReq && t != PDUICResp && t != PDUH2CTermReq && t != PDUC2HTermReq
}

// CH is the common header of a PDU (tcp 3.6.2), CHSize bytes long.
type CH []byte

// Type is the type of the PDU.
func (h CH) Type() PDUType { return PDUType(h[0]) }

// FLAGS are the flags.
func (h CH) FLAGS() uint8 { return h[1] }

// HLEN is the length of the header without digest.
func (h CH) HLEN() uint8 { return h[2] }

// PDO is the offset of the data in the PDU, 0 without data.
func (h CH) PDO() uint8 { return h[3] }

// PLEN is the length of the whole PDU.
func (h CH) PLEN() uint32 { return binary.LittleEndian.Uint32(h[4:]) }

// set writes the whole header.
func (h CH) set(t PDUType, flags, hlen, pdo uint8, plen uint32) {
	h[0], h[1], h[2], h[3] = uint8(t), flags, hlen, pdo
	binary.LittleEndian.PutUint32(h[4:], plen)
}
