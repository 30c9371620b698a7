// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// The receive buffer begins small, as there may be thousands of idle connections, and doubles while
// reads fill it. Sizes are in bytes. Data that does not lie in it completely is read straight into
// its place.
const (
	recvMin = 4 << 10
	recvMax = 64 << 10
)

// receiver takes bytes from the connection for the reader.
type receiver struct {
	from       io.Reader
	buf        []byte
	start, end int
}

// need makes at least n bytes available, and returns all that are; they are valid until the next
// need. n is at most recvMin.
func (r *receiver) need(n int) ([]byte, error) {
	for r.end-r.start < n {
		if r.start > 0 && len(r.buf)-r.start < n {
			r.end = copy(r.buf, r.buf[r.start:r.end])
			r.start = 0
		}
		if r.start == r.end {
			r.start, r.end = 0, 0
		}
		k, err := r.from.Read(r.buf[r.end:])
		r.end += k
		if r.end == len(r.buf) && len(r.buf) < recvMax {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		if err != nil && r.end-r.start < n {
			return nil, err //nolint:wrapcheck // wrapped by the caller
		}
	}
	return r.buf[r.start:r.end], nil
}

func (r *receiver) skip(n int) { r.start += n }

// into fills p, first from the buffer, then from the connection.
func (r *receiver) into(p []byte) error {
	n := copy(p, r.buf[r.start:r.end])
	r.start += n
	if n == len(p) {
		return nil
	}
	_, err := io.ReadFull(r.from, p[n:])
	return err //nolint:wrapcheck // wrapped by the caller
}

// readLoop takes PDUs until the connection ends, and then fails what is in flight.
func (q *queue) readLoop() {
	in := &receiver{from: (*source)(q), buf: make([]byte, recvMin)}
	for {
		if err := q.readPDU(in); err != nil {
			if pdu, ok := errors.AsType[*nvme.PDUError](err); ok {
				q.terminate(pdu)
			}
			q.fail(err)
			break
		}
	}
	<-q.writerDone
	q.drain()
}

// source is the connection as the reader reads it: before it may wait, what gathered is sent.
type source queue

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	(*queue)(s).uncork()
	return s.conn.Read(p) //nolint:wrapcheck // io.Reader hands errors on as they are
}

// uncork sends what the answers of a batch have led to. From then on until cork others send for
// themselves.
func (q *queue) uncork() {
	q.mu.Lock()
	q.corked = false
	if !q.writing && !q.box.empty() && q.err == nil {
		q.sendNow()
	}
	q.mu.Unlock()
}

// terminate tells the controller why the connection ends, if that can be done without waiting.
func (q *queue) terminate(fault *nvme.PDUError) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.writing || !q.box.empty() {
		return
	}
	term := nvme.TermReq{FES: fault.FES, FEI: fault.FEI}
	if q.tls != nil {
		q.terminateTLS(&term)
		return
	}
	_, _ = q.writeSome(term.Encode(true)) // the connection ends anyway
}

// readPDU takes one PDU.
func (q *queue) readPDU(in *receiver) error {
	b, err := in.need(nvme.CHSize)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	fr, err := q.rx.Check(nvme.CH(b), false)
	if err != nil {
		return err //nolint:wrapcheck // a *nvme.PDUError says it all
	}
	head := fr.Header
	if fr.Type == nvme.PDUC2HTermReq {
		head = int(fr.PDULen)
	}
	if b, err = in.need(head); err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	if err := q.rx.CheckHeader(b, fr); err != nil {
		return err //nolint:wrapcheck // as above
	}
	q.mu.Lock()
	q.corked = true
	q.mu.Unlock()
	switch fr.Type {
	case nvme.PDUCapsuleResp:
		cqe := nvme.CapsuleCQE(b)
		entry := [nvme.CQESize]byte(cqe)
		in.skip(head)
		return q.complete(entry)
	case nvme.PDUC2HData:
		return q.takeData(in, b, fr)
	case nvme.PDUR2T:
		h := nvme.DataHeader(b)
		cid, ttag, offset, length := h.CCCID(), h.TTAG(), h.DATAO(), h.DATAL()
		in.skip(head)
		return q.grant(cid, ttag, offset, length)
	case nvme.PDUC2HTermReq:
		term, err := nvme.DecodeTermReq(b[:head])
		if err != nil {
			return fmt.Errorf("termination by the controller: %w", err)
		}
		return fmt.Errorf("controller ended the connection: %v, at offset %d", term.FES, term.FEI)
	default:
		return sequenceError("PDU of type %#02x after the connection was initialized", uint8(fr.Type))
	}
}

func sequenceError(format string, args ...any) error {
	return &nvme.PDUError{FES: nvme.FESSequence, Reason: fmt.Sprintf(format, args...)}
}

func rangeError(format string, args ...any) error {
	return &nvme.PDUError{FES: nvme.FESDataOutOfRange, Reason: fmt.Sprintf(format, args...)}
}

// slot returns the command of an identifier that the controller named; the caller holds mu.
func (q *queue) slot(cid uint16) (*command, error) {
	if int(cid) >= len(q.slots) || !q.slots[cid].busy {
		return nil, sequenceError("command identifier %d is not in use", cid)
	}
	return &q.slots[cid], nil
}

// complete takes the answer to a command.
func (q *queue) complete(entry [nvme.CQESize]byte) error {
	cqe := nvme.CQE(entry[:])
	cid, status := cqe.CID(), cqe.Status()
	q.mu.Lock()
	defer q.mu.Unlock()
	c, err := q.slot(cid)
	if err != nil {
		return err
	}
	if status.OK() && !c.write && int(c.moved) != len(c.data) && !c.partial {
		return rangeError("command %d succeeded after %d of %d bytes of data", cid, c.moved, len(c.data))
	}
	// The answer may overtake the writer's knowledge that the data has left. Until then the data is
	// not the submitter's again.
	for c.unsent > 0 && q.err == nil {
		q.sent.Wait()
	}
	if q.err != nil {
		return q.err
	}
	q.finish(cid, entry)
	return nil
}

// takeData takes the data of a read.
func (q *queue) takeData(in *receiver, b []byte, fr nvme.Frame) error {
	h := nvme.DataHeader(b)
	if err := h.CheckLength(fr); err != nil {
		return err //nolint:wrapcheck // a *nvme.PDUError says it all
	}
	cid, offset, flags := h.CCCID(), h.DATAO(), nvme.CH(b).FLAGS()
	q.mu.Lock()
	c, err := q.slot(cid)
	if err == nil {
		switch {
		case c.write || len(c.data) == 0:
			err = sequenceError("data for command %d, which reads none", cid)
		case offset != c.moved || uint64(offset)+uint64(fr.DataLen) > uint64(len(c.data)):
			err = rangeError("data at %d, %d bytes, for command %d, which has %d of %d",
				offset, fr.DataLen, cid, c.moved, len(c.data))
		}
	}
	if err != nil {
		q.mu.Unlock()
		return err
	}
	// The command stays in flight while its data is read: only this goroutine ends commands.
	into := c.data[offset : offset+fr.DataLen]
	q.mu.Unlock()

	in.skip(fr.Header)
	if pad := fr.Data - fr.Header; pad > 0 {
		if _, err := in.need(pad); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		in.skip(pad)
	}
	if err := in.into(into); err != nil {
		return fmt.Errorf("receive data: %w", err)
	}
	bad := false
	if fr.DataDigest {
		d, err := in.need(nvme.DigestSize)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		bad = !nvme.CheckDigest(d, into)
		in.skip(nvme.DigestSize)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	c.moved += fr.DataLen
	c.bad = c.bad || bad
	if flags&nvme.FlagSuccess == 0 {
		return nil
	}
	if flags&nvme.FlagLast == 0 || int(c.moved) != len(c.data) && !c.partial {
		return rangeError("command %d succeeded after %d of %d bytes of data", cid, c.moved, len(c.data))
	}
	var entry [nvme.CQESize]byte
	nvme.CQE(entry[:]).SetCID(cid)
	q.finish(cid, entry)
	return nil
}

// grant sends the data for which the controller is ready.
func (q *queue) grant(cid, ttag uint16, offset, length uint32) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	c, err := q.slot(cid)
	if err != nil {
		return err
	}
	switch {
	case !c.write || uint64(len(c.data)) <= uint64(q.inCapsule):
		return sequenceError("R2T for command %d, which has no data to send", cid)
	case length == 0 || offset != c.moved || uint64(offset)+uint64(length) > uint64(len(c.data)):
		return rangeError("R2T at %d, %d bytes, for command %d, which has sent %d of %d",
			offset, length, cid, c.moved, len(c.data))
	}
	c.moved += length
	for length > 0 {
		n := min(length, q.maxH2C)
		var flags uint8
		if n == length {
			flags = nvme.FlagLast
		}
		q.sendPDU(nvme.PDUH2CData, flags, cid, c.data[offset:offset+n], func(b []byte) {
			nvme.DataHeader(b).Set(cid, ttag, offset, n)
		})
		offset, length = offset+n, length-n
	}
	return nil
}
