// SPDX-License-Identifier: Apache-2.0

package target

import (
	"net"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

const (
	// headerArena holds the headers of one batch of answers: some 600 reads, more than any queue.
	headerArena = 16 << 10
	// maxPieces is what one writev takes.
	maxPieces = 1000
	// headerRoom is more than the headers and digests of one answer, padding included.
	headerRoom = 512
)

// output gathers the answers of a queue until they go out with one writev: headers lie one after the
// other in an arena, data stays where it is.
type output struct {
	arena  []byte
	pieces [][]byte
	writev net.Buffers // of pieces; kept here so that it does not escape each time
	// segment is where the last piece begins, if it lies in the arena and can be extended; else -1.
	segment int
	// lent are requests whose buffers are in pieces.
	lent []*request
	// users are the attachments whose memory is in pieces.
	users []*attachment
}

// room makes sure that one more answer fits.
func (q *queue) room() {
	if cap(q.out.arena)-len(q.out.arena) < headerRoom || len(q.out.pieces) > maxPieces {
		q.flush()
	}
}

// space adds n bytes of header.
func (o *output) space(n int) []byte {
	start := len(o.arena)
	o.arena = o.arena[:start+n]
	if o.segment >= 0 {
		o.pieces[len(o.pieces)-1] = o.arena[o.segment : start+n]
	} else {
		o.segment = start
		o.pieces = append(o.pieces, o.arena[start:start+n])
	}
	return o.arena[start : start+n]
}

// data adds bytes that stay where they are until the batch is written.
func (o *output) data(b []byte) {
	o.pieces = append(o.pieces, b)
	o.segment = -1
}

// flush writes out the batch and lets go of what it held. A failure fails the queue.
func (q *queue) flush() {
	o := &q.out
	if len(o.pieces) == 0 {
		return
	}
	o.writev = o.pieces
	var err error
	if q.tls != nil {
		_, err = q.tls.WriteBuffers(o.pieces)
	} else if len(o.pieces) == 1 {
		_, err = q.conn.Write(o.pieces[0])
	} else {
		_, err = o.writev.WriteTo(q.conn)
	}
	if err != nil {
		q.fail("write: " + err.Error())
	}
	clear(o.pieces)
	o.pieces = o.pieces[:0]
	o.arena, o.segment = o.arena[:0], -1
	for i, r := range o.lent {
		q.recycle(r)
		o.lent[i] = nil
	}
	o.lent = o.lent[:0]
	for i, a := range o.users {
		a.batch = false
		a.leave()
		o.users[i] = nil
	}
	o.users = o.users[:0]
	if q.completed > 0 {
		q.target.counters.completed.Add(q.completed)
		q.completed = 0
	}
}

// answer adds a completion.
func (q *queue) answer(cid uint16, status nvme.Status, dw0 uint32) {
	q.answerValue(cid, status, uint64(dw0))
}

// answerValue adds a completion with both dwords that are the command's own.
func (q *queue) answerValue(cid uint16, status nvme.Status, value uint64) {
	q.room()
	h := q.out.space(q.outgoing.HeaderSpace(nvme.PDUCapsuleResp, false))
	q.outgoing.PutCH(h, nvme.PDUCapsuleResp, 0, 0)
	e := nvme.CapsuleCQE(h)
	e.SetValue(value)
	e.SetSQHD(q.sqhd)
	e.SetCID(cid)
	e.SetStatus(status)
	q.outgoing.Seal(h)
	if q.qid != 0 {
		q.completed++
	}
}

// answerData adds data, which stays where it is until the flush, and a completion without error. With
// a data digest the bytes must not change any more.
func (q *queue) answerData(cid uint16, data []byte) {
	q.room()
	success := q.omitsSuccess
	flags := nvme.FlagLast
	if success {
		flags |= nvme.FlagSuccess
	}
	size := uint32(len(data)) //nolint:gosec // at most MaxIOSizeBytes
	h := q.out.space(q.outgoing.HeaderSpace(nvme.PDUC2HData, true))
	q.outgoing.PutCH(h, nvme.PDUC2HData, flags, size)
	nvme.DataHeader(h).Set(cid, 0, 0, size)
	q.outgoing.Seal(h)
	q.out.data(data)
	if q.outgoing.DataDigest {
		nvme.PutDigest(q.out.space(nvme.DigestSize), data)
	}
	if !success {
		q.answer(cid, nvme.Success, 0)
	} else if q.qid != 0 {
		q.completed++
	}
}

// sendBuffer answers a read whose data is in the request's buffer.
func (q *queue) sendBuffer(r *request) {
	q.answerData(r.cid, r.buf.b)
	q.out.lent = append(q.out.lent, r)
}

// askForData adds the R2T for all data of a request.
func (q *queue) askForData(r *request) {
	q.room()
	q.awaited += uint64(len(r.buf.b))
	h := q.out.space(q.outgoing.HeaderSpace(nvme.PDUR2T, false))
	q.outgoing.PutCH(h, nvme.PDUR2T, 0, 0)
	nvme.DataHeader(h).Set(r.cid, r.ttag, 0, uint32(len(r.buf.b))) //nolint:gosec // at most MaxIOSizeBytes
	q.outgoing.Seal(h)
}
