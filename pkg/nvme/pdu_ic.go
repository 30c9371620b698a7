// SPDX-License-Identifier: Apache-2.0

package nvme

import "encoding/binary"

// Bits of DGST (tcp figure 18).
const (
	DGSTHeader uint8 = 1 << 0
	DGSTData   uint8 = 1 << 1
)

// PDAMax is the largest data alignment that either end may ask for, in dwords counted from 0.
const PDAMax = 31

// ICReq is the initialize connection request (tcp 3.6.2.2).
type ICReq struct {
	PFV uint16
	// HPDA is the alignment of data that the host wants, in dwords counted from 0.
	HPDA uint8
	DGST uint8
	// MAXR2T is the number of outstanding R2Ts per command, counted from 0.
	MAXR2T uint32
}

func (d *ICReq) visit(c *codec) {
	c.u16(8, &d.PFV)
	c.u8(10, &d.HPDA)
	c.u8(11, &d.DGST)
	c.u32(12, &d.MAXR2T)
}

// Encode writes the whole PDU to b, which must hold PDUHeaderMax bytes.
func (d *ICReq) Encode(b []byte) {
	encode(d, b, icSize)
	CH(b).set(PDUICReq, 0, icSize, 0, icSize)
}

// DecodeICReq reads the fields of a PDU whose common header has passed Framing.Check.
func DecodeICReq(b []byte) (ICReq, error) {
	var d ICReq
	return d, decode(&d, b, icSize, "ICReq")
}

// Validate checks what the host asked for. The error is a *PDUError.
func (d *ICReq) Validate() error {
	if d.PFV != 0 {
		return headerError(8, "PFV is %d, want 0", d.PFV)
	}
	if d.HPDA > PDAMax {
		return headerError(10, "HPDA is %d, at most %d is allowed", d.HPDA, PDAMax)
	}
	return nil
}

// ICResp is the initialize connection response (tcp 3.6.2.3).
type ICResp struct {
	PFV uint16
	// CPDA is the alignment of data that the controller wants, in dwords counted from 0.
	CPDA uint8
	DGST uint8
	// MAXH2CDATA is the most data in one H2CData PDU, in bytes: a multiple of 4, at least 4096.
	MAXH2CDATA uint32
}

func (d *ICResp) visit(c *codec) {
	c.u16(8, &d.PFV)
	c.u8(10, &d.CPDA)
	c.u8(11, &d.DGST)
	c.u32(12, &d.MAXH2CDATA)
}

// Encode writes the whole PDU to b, which must hold PDUHeaderMax bytes.
func (d *ICResp) Encode(b []byte) {
	encode(d, b, icSize)
	CH(b).set(PDUICResp, 0, icSize, 0, icSize)
}

// DecodeICResp reads the fields of a PDU whose common header has passed Framing.Check.
func DecodeICResp(b []byte) (ICResp, error) {
	var d ICResp
	return d, decode(&d, b, icSize, "ICResp")
}

// Validate checks what the controller answered. The error is a *PDUError.
func (d *ICResp) Validate() error {
	switch {
	case d.PFV != 0:
		return headerError(8, "PFV is %d, want 0", d.PFV)
	case d.CPDA > PDAMax:
		return headerError(10, "CPDA is %d, at most %d is allowed", d.CPDA, PDAMax)
	case d.DGST&^(DGSTHeader|DGSTData) != 0:
		return headerError(11, "DGST is %#02x, reserved bits are set", d.DGST)
	case d.MAXH2CDATA < 4096 || d.MAXH2CDATA%4 != 0:
		return headerError(12, "MAXH2CDATA is %d, want a multiple of 4 from 4096 on", d.MAXH2CDATA)
	}
	return nil
}

// TermReq is a terminate connection request of either end (tcp 3.6.2.4, 3.6.2.5).
type TermReq struct {
	FES FES
	FEI uint32
	// Header is the header of the PDU that was at fault, at most 128 bytes.
	Header []byte
}

// Encode returns the whole PDU: C2HTermReq, or H2CTermReq when fromHost is set.
func (d *TermReq) Encode(fromHost bool) []byte {
	h := d.Header[:min(len(d.Header), TermReqMax-termSize)]
	b := make([]byte, termSize+len(h))
	t := PDUC2HTermReq
	if fromHost {
		t = PDUH2CTermReq
	}
	CH(b).set(t, 0, termSize, 0, uint32(len(b))) //nolint:gosec // at most TermReqMax
	binary.LittleEndian.PutUint16(b[8:], uint16(d.FES))
	binary.LittleEndian.PutUint32(b[10:], d.FEI)
	copy(b[termSize:], h)
	return b
}

// DecodeTermReq reads a PDU whose common header has passed Framing.Check. Header refers to b.
func DecodeTermReq(b []byte) (TermReq, error) {
	if len(b) < termSize {
		return TermReq{}, ErrShort
	}
	return TermReq{
		FES:    FES(binary.LittleEndian.Uint16(b[8:])),
		FEI:    binary.LittleEndian.Uint32(b[10:]),
		Header: b[termSize:],
	}, nil
}
