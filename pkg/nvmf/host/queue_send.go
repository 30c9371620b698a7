// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// copyMax is the size in bytes up to which data is copied into the outbox: less work than a further
// piece for the kernel to gather.
const copyMax = 16 << 10

// outbox holds PDUs that are to be sent: headers and small data in one buffer, large data by reference.
type outbox struct {
	small  []byte
	pieces []piece
}

// piece is a stretch of the outbox: small[start:end], or data of the command.
type piece struct {
	start, end int
	data       []byte
	cid        uint16
}

func (b *outbox) empty() bool { return len(b.pieces) == 0 }

func (b *outbox) reset() {
	b.small = b.small[:0]
	clear(b.pieces)
	b.pieces = b.pieces[:0]
}

// grow adds n bytes to the small buffer and returns them. They are valid until the next grow.
func (b *outbox) grow(n int) []byte {
	start := len(b.small)
	if cap(b.small)-start < n {
		b.small = append(make([]byte, 0, 2*cap(b.small)+n), b.small...)
	}
	b.small = b.small[:start+n]
	if k := len(b.pieces); k > 0 && b.pieces[k-1].data == nil {
		b.pieces[k-1].end = start + n
	} else {
		b.pieces = append(b.pieces, piece{start: start, end: start + n})
	}
	return b.small[start:]
}

// sendCapsule puts the command of an identifier into the outbox, with its data when that fits into
// the capsule; the caller holds mu.
func (q *queue) sendCapsule(cid uint16, entry nvme.SQE) {
	c := &q.slots[cid]
	entry.SetFlags(0, 1)
	entry.SetCID(cid)
	var inline []byte
	switch {
	case c.write && len(c.data) > 0 && uint64(len(c.data)) <= uint64(q.inCapsule):
		inline = c.data
		entry.SGL().Set(nvme.SGLInCapsule, 0, uint32(len(c.data))) //nolint:gosec // at most inCapsule
	default:
		entry.SGL().Set(nvme.SGLTransport, 0, uint32(len(c.data))) //nolint:gosec // bounded by the transfer limit
	}
	q.sendPDU(nvme.PDUCapsuleCmd, 0, cid, inline, func(b []byte) { copy(nvme.CapsuleSQE(b), entry) })
}

// sendPDU puts a PDU with perhaps some data of a command into the outbox; the caller holds mu. fill
// writes the fields behind the common header.
func (q *queue) sendPDU(t nvme.PDUType, flags uint8, cid uint16, data []byte, fill func(b []byte)) {
	size := uint32(len(data)) //nolint:gosec // bounded by the transfer limit
	space := q.tx.HeaderSpace(t, size > 0)
	b := q.box.grow(space)
	q.tx.PutCH(b, t, flags, size)
	fill(b)
	q.tx.Seal(b)
	if size == 0 {
		return
	}
	if size <= copyMax {
		copy(q.box.grow(len(data)), data)
	} else {
		q.box.pieces = append(q.box.pieces, piece{data: data, cid: cid})
		q.slots[cid].unsent++
	}
	if q.tx.DataDigest {
		nvme.PutDigest(q.box.grow(nvme.DigestSize), data)
	}
}

// kick sees to it that the outbox is sent; the caller holds mu. A lone command is sent on the spot,
// because to wake the writer takes longer; more than one are left to the writer, which takes all
// that has gathered until it runs.
func (q *queue) kick() {
	switch {
	case q.corked || q.writing || q.box.empty():
	case q.inflight <= 1:
		q.sendNow()
	default:
		q.writing = true
		q.wake <- struct{}{}
	}
}

// sendNow sends the outbox without waiting, as far as the socket takes it; the writer does the rest.
// The caller holds mu, which is released meanwhile. With TLS the writer does it all: records cannot be
// sent in part.
func (q *queue) sendNow() {
	q.writing = true
	for q.tls == nil && len(q.box.pieces) == 1 && q.box.pieces[0].data == nil {
		batch := q.swap()
		q.mu.Unlock()
		n, err := q.writeSome(batch.small)
		q.mu.Lock()
		if err != nil {
			q.abandon(err)
			return
		}
		if n < len(batch.small) {
			rest := outbox{small: batch.small[n:]}
			rest.pieces = append(rest.pieces, piece{end: len(rest.small)})
			q.prepend(rest)
			break
		}
		q.spare = batch
		q.spare.reset()
	}
	if q.box.empty() {
		q.writing = false
		return
	}
	q.wake <- struct{}{}
}

// abandon ends the queue because sending failed; the caller holds mu and is the one who sends.
func (q *queue) abandon(err error) {
	q.mu.Unlock()
	q.fail(fmt.Errorf("send: %w", err))
	q.mu.Lock()
	q.writing = false
	q.sent.Broadcast()
}

// prepend puts what could not be sent before what has come since.
func (q *queue) prepend(rest outbox) {
	shift := len(rest.small)
	rest.small = append(rest.small, q.box.small...)
	for _, p := range q.box.pieces {
		if p.data == nil {
			p.start, p.end = p.start+shift, p.end+shift
		}
		rest.pieces = append(rest.pieces, p)
	}
	q.box = rest
}

// swap takes the outbox and puts the spare one in its place; the caller holds mu.
func (q *queue) swap() outbox {
	batch := q.box
	q.box, q.spare = q.spare, outbox{}
	return batch
}

// attempt is a write that does not wait. Its function is made once, so that a write costs no memory.
type attempt struct {
	data []byte
	n    int
	err  error
	run  func(fd uintptr) bool
}

func newAttempt() *attempt {
	a := &attempt{}
	a.run = func(fd uintptr) bool {
		for {
			a.n, a.err = syscall.Write(int(fd), a.data)
			if !errors.Is(a.err, syscall.EINTR) {
				return true
			}
		}
	}
	return a
}

// writeSome writes what the socket takes without waiting. The caller is the only one who sends.
func (q *queue) writeSome(b []byte) (int, error) {
	a := q.attempt
	a.data = b
	err := q.raw.Write(a.run)
	a.data = nil
	switch {
	case err != nil:
		return 0, err //nolint:wrapcheck // wrapped by the caller
	case errors.Is(a.err, syscall.EAGAIN):
		return 0, nil
	}
	return max(a.n, 0), a.err
}

// writeLoop sends what lies in the outbox whenever it is woken.
func (q *queue) writeLoop() {
	defer close(q.writerDone)
	// rest is what WriteTo consumes; it lives here so that it is allocated once.
	var iov, rest net.Buffers
	for {
		select {
		case <-q.wake:
		case <-q.stop:
			return
		}
		q.mu.Lock()
		for !q.box.empty() && q.err == nil {
			batch := q.swap()
			q.mu.Unlock()
			iov = iov[:0]
			for _, p := range batch.pieces {
				if p.data == nil {
					iov = append(iov, batch.small[p.start:p.end])
				} else {
					iov = append(iov, p.data)
				}
			}
			var err error
			if q.tls != nil {
				_, err = q.tls.WriteBuffers(iov)
			} else {
				rest = iov
				_, err = rest.WriteTo(q.socket)
			}
			clear(iov)
			q.mu.Lock()
			if err != nil {
				q.abandon(err)
				break
			}
			for _, p := range batch.pieces {
				if p.data != nil {
					q.slots[p.cid].unsent--
				}
			}
			q.sent.Broadcast()
			batch.reset()
			q.spare = batch
		}
		q.writing = false
		q.mu.Unlock()
	}
}
