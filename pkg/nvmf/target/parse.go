// SPDX-License-Identifier: Apache-2.0

package target

import (
	"fmt"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// parse handles all PDUs that have come in whole, and returns nil when it needs more bytes. Errors
// end the connection; a *nvme.PDUError is told to the peer.
func (q *queue) parse() error {
	for {
		if q.failed() {
			return errFailed
		}
		b := q.buf[q.r:q.w]
		if len(b) < nvme.CHSize {
			return nil
		}
		fr, err := q.incoming.Check(nvme.CH(b), true)
		if err != nil {
			return err
		}
		if (fr.Type == nvme.PDUICReq) == q.initialized && fr.Type != nvme.PDUH2CTermReq {
			return &nvme.PDUError{FES: nvme.FESSequence, Reason: fmt.Sprintf("PDU type %#02x out of sequence", uint8(fr.Type))}
		}
		if fr.Type == nvme.PDUH2CData {
			more, err := q.hostData(b, fr)
			if err != nil || more {
				return err
			}
			continue
		}
		if err := q.bound(fr); err != nil {
			return err
		}
		if uint64(len(b)) < uint64(fr.PDULen) {
			return nil
		}
		if err := q.handle(b[:fr.PDULen], fr); err != nil {
			return err
		}
		q.r += int(fr.PDULen)
	}
}

// bound checks that a PDU fits into the receive buffer before it is waited for.
func (q *queue) bound(fr nvme.Frame) error {
	if fr.Type != nvme.PDUCapsuleCmd {
		return nil // its length is fixed, or bounded by Check
	}
	most := q.opts.InCapsuleDataSizeBytes
	if q.qid == 0 {
		most = max(most, maxControlData)
	}
	if fr.DataLen > most {
		return &nvme.PDUError{FES: nvme.FESLimitExceeded, Reason: fmt.Sprintf("%d bytes in the capsule, %d are allowed", fr.DataLen, most)}
	}
	return nil
}

// handle handles one whole PDU other than H2CData.
func (q *queue) handle(b []byte, fr nvme.Frame) error {
	switch fr.Type {
	case nvme.PDUCapsuleCmd:
		return q.capsule(b, fr)
	case nvme.PDUICReq:
		return q.initialize(b)
	default: // H2CTermReq: Check lets no other pass
		term, err := nvme.DecodeTermReq(b)
		if err != nil {
			return err
		}
		return fmt.Errorf("the host ended the connection: %s", term.FES)
	}
}

// initialize answers ICReq.
func (q *queue) initialize(b []byte) error {
	req, err := nvme.DecodeICReq(b)
	if err != nil {
		return err
	}
	if err := req.Validate(); err != nil {
		return err
	}
	resp := nvme.ICResp{DGST: req.DGST & (nvme.DGSTHeader | nvme.DGSTData), MAXH2CDATA: q.opts.MaxIOSizeBytes}
	q.room()
	resp.Encode(q.out.space(nvme.PDUHeaderMax))
	q.incoming = nvme.Framing{HeaderDigest: req.DGST&nvme.DGSTHeader != 0, DataDigest: req.DGST&nvme.DGSTData != 0}
	q.outgoing = q.incoming
	q.outgoing.DataAlignment = req.HPDA
	q.initialized = true
	return nil
}

// capsule handles one command.
func (q *queue) capsule(b []byte, fr nvme.Frame) error {
	if err := q.incoming.CheckHeader(b, fr); err != nil {
		return err
	}
	e := nvme.CapsuleSQE(b)
	if q.sqhd == q.sqsize {
		q.sqhd = 0
	} else {
		q.sqhd++
	}
	if q.qid != 0 && (q.first != nil || e.FUSE() != 0) {
		q.breakPair(e)
	}
	var data []byte
	if fr.DataLen > 0 {
		end := uint32(fr.Data) + fr.DataLen //nolint:gosec // below 256
		data = b[fr.Data:end]
		if err := checkInCapsule(e.SGL(), fr.DataLen); err != nil {
			return err
		}
		if fr.DataDigest && !nvme.CheckDigest(b[end:], data) {
			q.answer(e.CID(), nvme.StatusTransientTransport, 0)
			return nil
		}
	}
	if q.qid != 0 && e.FUSE() != 0 {
		return q.fused(e, data)
	}
	if data == nil && nvme.DataTransfer(e) == nvme.TransferH2C {
		if later, err := q.expectData(e); err != nil || later {
			return err
		}
	}
	return q.execute(e, data)
}

// checkInCapsule compares the SGL of a command with the data that came along. Offsets of fields count
// from the start of the PDU.
func checkInCapsule(s nvme.SGL, n uint32) error {
	const sgl = nvme.CHSize + 24
	switch {
	case s.ID() != nvme.SGLInCapsule:
		return &nvme.PDUError{FES: nvme.FESUnsupportedParam, FEI: sgl + 15, Reason: fmt.Sprintf("SGL type %#02x with data in the capsule", s.ID())}
	case s.Length() != n:
		return &nvme.PDUError{FES: nvme.FESInvalidHeaderField, FEI: 4, Reason: fmt.Sprintf("SGL length is %d, the capsule holds %d", s.Length(), n)}
	case s.Address() != 0:
		return &nvme.PDUError{FES: nvme.FESUnsupportedParam, FEI: sgl, Reason: fmt.Sprintf("in-capsule offset is %d, want 0", s.Address())}
	default:
		return nil
	}
}

// transferLength returns how much data the transport is to move for a command; 0 for none.
func (q *queue) transferLength(e nvme.SQE) (uint32, error) {
	s := e.SGL()
	if s.Length() == 0 {
		return 0, nil
	}
	if s.ID() != nvme.SGLTransport {
		return 0, &nvme.PDUError{FES: nvme.FESUnsupportedParam, FEI: nvme.CHSize + 24 + 15, Reason: fmt.Sprintf("SGL type %#02x", s.ID())}
	}
	if s.Length() > q.opts.MaxIOSizeBytes {
		return 0, &nvme.PDUError{FES: nvme.FESLimitExceeded, Reason: fmt.Sprintf("%d bytes in one command, %d are allowed", s.Length(), q.opts.MaxIOSizeBytes)}
	}
	return s.Length(), nil
}

// expectData asks for the data of a command that did not bring it along. later is false when there is
// none, and the command is to be executed at once.
func (q *queue) expectData(e nvme.SQE) (later bool, err error) {
	n, err := q.transferLength(e)
	if err != nil || n == 0 {
		return false, err
	}
	if q.controller == nil {
		return false, &nvme.PDUError{FES: nvme.FESLimitExceeded, Reason: "a command before Connect that asks for a transfer"}
	}
	r, err := q.take(e)
	if err != nil {
		return false, err
	}
	r.buf = q.target.buffers.get(n)
	r.receiving = true
	q.askForData(r)
	return true, nil
}

// hostData handles H2CData, whose data goes straight to its buffer. more says that not even the
// header is whole.
func (q *queue) hostData(b []byte, fr nvme.Frame) (more bool, err error) {
	if len(b) < fr.Data {
		return true, nil
	}
	if err := q.incoming.CheckHeader(b, fr); err != nil {
		return false, err
	}
	h := nvme.DataHeader(b)
	if err := h.CheckLength(fr); err != nil {
		return false, err
	}
	r, err := q.receiver(h)
	if err != nil {
		return false, err
	}
	into := r.buf.b[h.DATAO() : h.DATAO()+h.DATAL()]
	q.r += fr.Data
	if err := q.readFull(into); err != nil {
		return false, err
	}
	if fr.DataDigest {
		var digest [nvme.DigestSize]byte
		if err := q.readFull(digest[:]); err != nil {
			return false, err
		}
		r.damaged = r.damaged || !nvme.CheckDigest(digest[:], into)
	}
	q.awaited -= uint64(len(into))
	r.received += uint32(len(into)) //nolint:gosec // at most MaxIOSizeBytes
	if int(r.received) < len(r.buf.b) {
		return false, nil
	}
	r.receiving = false
	if r.damaged {
		r.status = nvme.StatusTransientTransport
	}
	return false, q.complete(r)
}

// complete goes on with a request whose data has come in.
func (q *queue) complete(r *request) error {
	switch {
	case r.sqe().FUSE() != 0 && q.qid != 0:
		q.pairReady(r)
		return nil
	case !r.status.OK():
		q.finish(r)
		return nil
	default:
		return q.executeRequest(r)
	}
}

// receiver returns the request that H2CData belongs to.
func (q *queue) receiver(h nvme.DataHeader) (*request, error) {
	if int(h.TTAG()) >= len(q.requests) || !q.requests[h.TTAG()].receiving {
		return nil, &nvme.PDUError{FES: nvme.FESInvalidHeaderField, FEI: 10, Reason: fmt.Sprintf("no transfer with tag %d", h.TTAG())}
	}
	r := q.requests[h.TTAG()]
	if r.cid != h.CCCID() {
		return nil, &nvme.PDUError{FES: nvme.FESInvalidHeaderField, FEI: 8, Reason: fmt.Sprintf("command %d has transfer %d, not %d", r.cid, h.TTAG(), h.CCCID())}
	}
	if h.DATAO() != r.received || h.DATAL() > uint32(len(r.buf.b))-r.received { //nolint:gosec // at most MaxIOSizeBytes
		return nil, &nvme.PDUError{FES: nvme.FESDataOutOfRange, Reason: fmt.Sprintf("data at %d+%d, %d of %d bytes have come", h.DATAO(), h.DATAL(), r.received, len(r.buf.b))}
	}
	return r, nil
}

// readFull takes bytes from the receive buffer, and the rest from the connection without a detour.
func (q *queue) readFull(b []byte) error {
	n := copy(b, q.buf[q.r:q.w])
	q.r += n
	for n < len(b) {
		m, err := q.receive(b[n:])
		if err != nil {
			return err
		}
		n += m
	}
	return nil
}
