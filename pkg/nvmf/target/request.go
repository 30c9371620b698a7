// SPDX-License-Identifier: Apache-2.0

package target

import (
	"errors"
	"sync/atomic"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// Phases of a request that a device has.
const (
	// submitting: Submit has not returned yet.
	submitting uint32 = iota
	// finished: the device was done before Submit returned.
	finished
	// flying: Submit has returned, the device will be done later.
	flying
)

// request is a command that cannot be answered at once: it waits for data, a device or an event. A
// queue has as many as it has slots and uses them again, so none is allocated per command.
type request struct {
	q    *queue
	ttag uint16 // its place in queue.requests, and the transfer tag of its R2T
	cmd  [nvme.SQESize]byte
	cid  uint16
	// buf holds the data of the command, if any. lent does instead while the queue is busy with the
	// command that brought it along: it lies in the queue's receive buffer.
	buf  *buffer
	lent []byte
	// held says that the device would not take lent data, because limits might hold it up.
	held bool
	// received counts the bytes that have come in for an R2T; receiving says that more are to come.
	received  uint32
	receiving bool
	damaged   bool // a data digest did not match

	// What the device does. att is nil while no device has the request.
	io    bdev.Request
	att   *attachment
	phase atomic.Uint32
	// step counts what is still to be submitted after this: ranges, or a flush for FUA.
	step int

	status nvme.Status
	dw0    uint32
	// inDevice says that queue.flying counts the request.
	inDevice bool
	// changes says that attachment.writes counts the request.
	changes bool
	// mate is the other half of a fused pair.
	mate *request
	next *request // in queue.finished
}

// sqe returns the command.
func (r *request) sqe() nvme.SQE { return r.cmd[:] }

// take gives the next free request to a command. With none free the host has sent more than its
// queue holds, and the connection ends.
func (q *queue) take(e nvme.SQE) (*request, error) {
	var r *request
	if n := len(q.free); n > 0 {
		r = q.free[n-1]
		q.free = q.free[:n-1]
	} else {
		if len(q.requests) >= int(q.sqsize)+1+maxAsyncEvents {
			return nil, &nvme.PDUError{FES: nvme.FESSequence, Reason: "more commands than the queue holds"}
		}
		r = &request{q: q, ttag: uint16(len(q.requests))} //nolint:gosec // bounded by the line above
		r.io.Done, r.io.Context = deviceDone, r
		q.requests = append(q.requests, r)
	}
	copy(r.cmd[:], e)
	r.cid = e.CID()
	return r, nil
}

// recycle takes a request back.
func (q *queue) recycle(r *request) {
	q.target.buffers.put(r.buf)
	r.buf, r.lent, r.att, r.io.Data = nil, nil, nil, nil
	r.received, r.receiving, r.damaged, r.step = 0, false, false, 0
	r.status, r.dw0, r.inDevice, r.mate = nvme.Success, 0, false, nil
	q.free = append(q.free, r)
}

// payload is the data that came with the command, or nil.
func (r *request) payload() []byte {
	if r.lent == nil && r.buf != nil {
		return r.buf.b
	}
	return r.lent
}

// keep makes lent data the request's own.
func (r *request) keep() {
	if r.lent == nil {
		return
	}
	r.buf = r.q.target.buffers.get(uint32(len(r.lent))) //nolint:gosec // bounded by the capsule
	copy(r.buf.b, r.lent)
	r.io.Data, r.io.Brief, r.lent = r.buf.b[:len(r.io.Data)], false, nil
}

// submit hands r to its device, which r.att has let in. q.mu is held, as by all that follow.
func (q *queue) submit(r *request) {
	r.phase.Store(submitting)
	r.att.ns.cfg.Device.Submit(&r.io)
	if r.phase.CompareAndSwap(submitting, flying) {
		r.inDevice = true
		q.flying++
		return
	}
	if r.held {
		r.held = false
		r.keep()
		q.submit(r)
		return
	}
	q.finish(r)
}

// deviceDone is the Done of all requests. It may run inside Submit or on any goroutine.
func deviceDone(io *bdev.Request, err error) {
	r, ok := io.Context.(*request)
	if !ok {
		panic("target: a device has changed the context of a request")
	}
	if io.Brief && errors.Is(err, bdev.ErrHeld) {
		r.held = true // Submit has not returned: it is submitted again with data that lasts
		r.phase.Store(finished)
		return
	}
	if err != nil {
		r.status = statusOf(err)
	} else if r.advance() {
		r.att.ns.cfg.Device.Submit(io)
		return
	}
	if r.changes {
		r.changes = false
		r.att.written()
	}
	if !r.phase.CompareAndSwap(submitting, finished) {
		r.q.push(r)
	}
}

// statusOf turns the error of a device into a status. A device that is itself reached over NVMe may
// give the status it got.
func statusOf(err error) nvme.Status {
	var s nvme.Status
	switch {
	case errors.As(err, &s):
		return s
	case errors.Is(err, bdev.ErrCompare):
		return nvme.StatusCompareFailure
	case errors.Is(err, bdev.ErrRange):
		return nvme.StatusLBAOutOfRange
	case errors.Is(err, bdev.ErrReadOnly):
		return nvme.StatusNamespaceWriteProtected | nvme.DNR
	case errors.Is(err, bdev.ErrOp):
		return nvme.StatusInvalidOpcode | nvme.DNR
	default:
		return nvme.StatusInternalError
	}
}

// push hands a request that is done to the queue. It takes no lock and does not block.
func (q *queue) push(r *request) {
	for {
		old := q.finished.Load()
		r.next = old
		if q.finished.CompareAndSwap(old, r) {
			if old == nil {
				select {
				case q.wake <- struct{}{}:
				default:
				}
			}
			return
		}
	}
}

// collect answers all requests that were pushed, in the order in which they were done.
func (q *queue) collect() {
	r := q.finished.Swap(nil)
	if r == nil {
		return
	}
	var first *request
	for r != nil {
		next := r.next
		r.next = first
		first, r = r, next
	}
	for r = first; r != nil; {
		next := r.next
		r.next = nil
		if r.inDevice {
			q.flying--
		}
		q.finish(r)
		r = next
	}
}

// finish answers a request and makes it free again.
func (q *queue) finish(r *request) {
	if r.att != nil {
		r.att.leave()
	}
	e := r.sqe()
	if r.status == nvme.Success && r.att != nil && e.OPC() == nvme.IORead {
		q.sendBuffer(r)
		return
	}
	q.answer(r.cid, r.status, r.dw0)
	q.recycle(r)
}
