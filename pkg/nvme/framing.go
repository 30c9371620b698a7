// SPDX-License-Identifier: Apache-2.0

package nvme

import (
	"encoding/binary"
	"fmt"
)

// Framing is what both ends of a connection agreed about PDUs in ICReq and ICResp (tcp 3.6.2.2).
// Its zero value is the framing before that. It is a plain value.
type Framing struct {
	// HeaderDigest and DataDigest say whether PDUs carry digests.
	HeaderDigest, DataDigest bool
	// DataAlignment is the alignment of data in a PDU in dwords, counted from 0, at most 31: for
	// PDUs received what this end asked for (CPDA or HPDA), for PDUs sent what the other did.
	DataAlignment uint8
}

// Frame says where the parts of a received PDU are. Offsets and lengths are in bytes from the
// start of the PDU.
type Frame struct {
	Type PDUType
	// Header is the length of header and header digest.
	Header int
	// Data and DataLen are offset and length of the data; DataLen is 0 when there is none, and
	// Data is then the end of the PDU.
	Data    int
	DataLen uint32
	// PDULen is the length of the whole PDU.
	PDULen uint32
	// DataDigest says that a digest follows the data.
	DataDigest bool
}

// HeaderSpace returns how many bytes header, header digest and padding of a PDU take.
func (f Framing) HeaderSpace(t PDUType, withData bool) int {
	n := t.HeaderSize()
	if f.HeaderDigest && t.hasDigests() {
		n += DigestSize
	}
	if withData {
		align := (int(f.DataAlignment) + 1) * 4
		n = (n + align - 1) / align * align
	}
	return n
}

// PutCH writes the common header of a PDU with dataLen bytes of data to b, clears the rest of the
// header space, and returns that space: the data belongs there. Fill in the other fields, then
// call Seal. b must hold HeaderSpace bytes.
func (f Framing) PutCH(b []byte, t PDUType, flags uint8, dataLen uint32) int {
	hlen := t.HeaderSize()
	space := f.HeaderSpace(t, dataLen > 0)
	clear(b[CHSize:space])
	plen := uint32(space) + dataLen //nolint:gosec // space is at most 256
	pdo := 0
	if f.HeaderDigest && t.hasDigests() {
		flags |= FlagHDGST
	}
	if dataLen > 0 {
		pdo = space
		if f.DataDigest && t.hasDigests() {
			flags |= FlagDDGST
			plen += DigestSize
		}
	}
	CH(b).set(t, flags, uint8(hlen), uint8(pdo), plen) //nolint:gosec // both are below 256
	return space
}

// Seal writes the header digest, if there is one, after all fields of the header are in place.
func (f Framing) Seal(b []byte) {
	if !f.HeaderDigest || !CH(b).Type().hasDigests() {
		return
	}
	hlen := int(CH(b).HLEN())
	PutDigest(b[hlen:], b[:hlen])
}

// Check looks at the common header of a received PDU before anything else of it is read or any
// memory is taken for it. fromHost says which end sent it. The error is a *PDUError.
//
// It does not bound the data: compare DataLen of the result with what the receiver can take.
func (f Framing) Check(ch CH, fromHost bool) (Frame, error) {
	t := ch.Type()
	hlen := t.HeaderSize()
	if hlen == 0 || t.fromHost() != fromHost {
		return Frame{}, headerError(0, "PDU type %#02x is unknown or not for this end", uint8(t))
	}
	if int(ch.HLEN()) != hlen {
		return Frame{}, headerError(2, "HLEN of PDU type %#02x is %d, want %d", uint8(t), ch.HLEN(), hlen)
	}
	fr := Frame{Type: t, Header: hlen, PDULen: ch.PLEN()}
	if !t.hasDigests() {
		return fr, checkPlain(&fr, ch)
	}
	if want := f.HeaderDigest; want != (ch.FLAGS()&FlagHDGST != 0) {
		return Frame{}, headerError(1, "header digest flag is %t, negotiated is %t", !want, want)
	}
	if f.HeaderDigest {
		fr.Header += DigestSize
	}
	if uint64(fr.PDULen) < uint64(fr.Header) { //nolint:gosec // positive
		return Frame{}, headerError(4, "PLEN is %d, less than the header of %d", fr.PDULen, fr.Header)
	}
	fr.Data = fr.Header
	if int64(fr.PDULen) == int64(fr.Header) && t != PDUH2CData && t != PDUC2HData {
		return fr, nil
	}
	return fr, f.checkData(&fr, ch)
}

// checkPlain checks the PDUs that carry no digests: ICReq, ICResp and the terminations.
func checkPlain(fr *Frame, ch CH) error {
	fr.Data = fr.Header
	switch {
	case fr.Header == icSize && fr.PDULen != icSize:
		return headerError(4, "PLEN is %d, want %d", fr.PDULen, icSize)
	case fr.PDULen < termSize || fr.PDULen > TermReqMax:
		return headerError(4, "PLEN is %d, want %d to %d", fr.PDULen, termSize, TermReqMax)
	case ch.FLAGS()&(FlagHDGST|FlagDDGST) != 0:
		return headerError(1, "digest flags %#02x on a PDU without digests", ch.FLAGS())
	}
	fr.DataLen = fr.PDULen - uint32(fr.Header) //nolint:gosec // at most 128
	return nil
}

// checkData checks the place of the data of a PDU that has some.
func (f Framing) checkData(fr *Frame, ch CH) error {
	if fr.Type == PDUCapsuleResp || fr.Type == PDUR2T {
		return headerError(4, "PLEN is %d, want %d", fr.PDULen, fr.Header)
	}
	pdo := int(ch.PDO())
	if align := (int(f.DataAlignment) + 1) * 4; pdo < fr.Header || pdo%align != 0 {
		return headerError(3, "PDO is %d, want a multiple of %d from %d on", pdo, align, fr.Header)
	}
	if want := f.DataDigest; want != (ch.FLAGS()&FlagDDGST != 0) {
		return headerError(1, "data digest flag is %t, negotiated is %t", !want, want)
	}
	tail := uint64(pdo) //nolint:gosec // below 256
	if f.DataDigest {
		tail += DigestSize
		fr.DataDigest = true
	}
	if uint64(fr.PDULen) <= tail {
		return headerError(4, "PLEN is %d, no data after offset %d", fr.PDULen, pdo)
	}
	fr.Data = pdo
	fr.DataLen = fr.PDULen - uint32(tail) //nolint:gosec // below 260
	return nil
}

func (t PDUType) fromHost() bool {
	return t == PDUICReq || t == PDUH2CTermReq || t == PDUCapsuleCmd || t == PDUH2CData
}

// CheckHeader checks the header digest; b holds at least fr.Header bytes of the PDU.
func (f Framing) CheckHeader(b []byte, fr Frame) error {
	if !f.HeaderDigest || !fr.Type.hasDigests() {
		return nil
	}
	hlen := fr.Header - DigestSize
	if CheckDigest(b[hlen:], b[:hlen]) {
		return nil
	}
	return &PDUError{
		FES: FESHeaderDigest, FEI: binary.LittleEndian.Uint32(b[hlen:]),
		Reason: fmt.Sprintf("header digest of PDU type %#02x is %#08x, computed %#08x",
			uint8(fr.Type), binary.LittleEndian.Uint32(b[hlen:]), Digest(b[:hlen])),
	}
}
