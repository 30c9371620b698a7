// SPDX-License-Identifier: Apache-2.0

package nvme

import "encoding/binary"

// CapsuleSQE returns the command in a CapsuleCmd PDU (tcp 3.6.2.6), a view of b.
func CapsuleSQE(b []byte) SQE { return SQE(b[CHSize : CHSize+SQESize]) }

// CapsuleCQE returns the completion in a CapsuleResp PDU (tcp 3.6.2.7), a view of b.
func CapsuleCQE(b []byte) CQE { return CQE(b[CHSize : CHSize+CQESize]) }

// DataHeader is a view of the header of H2CData, C2HData and R2T (tcp 3.6.2.8 to 3.6.2.10), which
// have the same fields: what R2T calls R2TO and R2TL are DATAO and DATAL here.
type DataHeader []byte

// CCCID is the identifier of the command the data belongs to.
func (h DataHeader) CCCID() uint16 { return binary.LittleEndian.Uint16(h[8:]) }

// TTAG is the transfer tag of R2T that H2CData repeats; reserved in C2HData.
func (h DataHeader) TTAG() uint16 { return binary.LittleEndian.Uint16(h[10:]) }

// DATAO is the offset of the data within the data of the command.
func (h DataHeader) DATAO() uint32 { return binary.LittleEndian.Uint32(h[12:]) }

// DATAL is the length of the data.
func (h DataHeader) DATAL() uint32 { return binary.LittleEndian.Uint32(h[16:]) }

// Set writes all fields.
func (h DataHeader) Set(cccid, ttag uint16, datao, datal uint32) {
	binary.LittleEndian.PutUint16(h[8:], cccid)
	binary.LittleEndian.PutUint16(h[10:], ttag)
	binary.LittleEndian.PutUint32(h[12:], datao)
	binary.LittleEndian.PutUint32(h[16:], datal)
}

// CheckLength checks that DATAL is the length that PLEN leaves for the data. The error is a
// *PDUError.
func (h DataHeader) CheckLength(fr Frame) error {
	if h.DATAL() != fr.DataLen {
		return headerError(16, "DATAL is %d, the PDU holds %d bytes of data", h.DATAL(), fr.DataLen)
	}
	return nil
}
