// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// chunkBytes is the most that one request to the device moves through a buffer of ours.
const chunkBytes = 1 << maxBufferShift

// maxDataBytes is the most data a request of a driver may have. It is far above what the config
// space allows; what does not fit fails and nothing else.
const maxDataBytes = 1 << 28

// The states of a request at the device. The worker and the device each make one step; who comes
// second knows that the request is done and carries on with it.
const (
	stateSubmitting = iota
	stateAway
	stateDone
)

// task is a request of a driver, from its head to its status. A queue has at most one for each
// descriptor, and uses it again and again. All but state, err and next belong to the worker.
type task struct {
	q    *queue
	head uint16
	busy bool
	// hold keeps the memory of the guest mapped.
	hold *hold
	chain
	status *byte
	// written is what the used element says: the bytes written to the guest if all goes well.
	written uint32

	request bdev.Request
	backing *backing
	// data are the pieces which the device fills or empties.
	data *segments
	// block is the next block of the device, left the bytes that have not been asked for.
	block, left uint64
	// held says that the bdev has limits, which may hold data up for longer than guest memory lasts.
	held bool
	// ranges are what is left of a discard, a part of rangesCopy, which is made when first used.
	ranges, rangesCopy []byte
	buffer             *buffer

	state atomic.Int32
	err   error
	next  *task
}

// begin reads the request and starts it. done means that it has ended; an error, that it is not a
// request at all.
func (t *task) begin() (status byte, done bool, err error) {
	var head [blkHeaderBytes]byte
	if t.out.gather(head[:]) < blkHeaderBytes {
		return 0, false, errors.New("a request has no room for its head")
	}
	t.out.skip(blkHeaderBytes)
	if len(t.in.list) == 0 {
		return 0, false, errors.New("a request has no room for its status")
	}
	t.status = t.in.cutLast()
	t.written = 1
	t.left, t.ranges = 0, nil
	op := binary.LittleEndian.Uint32(head[0:])
	sector := binary.LittleEndian.Uint64(head[8:])
	if op == typeGetID {
		t.id()
		return statusOK, true, nil
	}
	b := t.q.session.controller.device()
	if b == nil || !b.enter() {
		return statusIOErr, true, nil
	}
	t.backing = b
	if status := t.prepare(op, sector); status != statusOK {
		return status, true, nil
	}
	status, done = t.step()
	return status, done, nil
}

// id answers with the name of the bdev, filled up with blanks, as SPDK does.
func (t *task) id() {
	var id [idBytes]byte
	for i := copy(id[:], t.q.session.controller.bdevName); i < idBytes; i++ {
		id[i] = ' '
	}
	n := min(idBytes, t.in.size())
	t.in.scatter(id[:n])
	t.written = uint32(n) + 1
}

// prepare finds out what to ask the device for.
func (t *task) prepare(op uint32, sector uint64) byte {
	readOnly := t.q.session.controller.readOnly
	switch op {
	case typeIn:
		t.request.Op, t.data = bdev.OpRead, &t.in
		return t.span(sector)
	case typeOut:
		if readOnly {
			return statusIOErr
		}
		t.request.Op, t.data = bdev.OpWrite, &t.out
		return t.span(sector)
	case typeFlush:
		t.request.Op, t.data = bdev.OpFlush, nil
		return statusOK
	case typeDiscard, typeWriteZeroes:
		if readOnly {
			return statusIOErr
		}
		t.request.Op, t.data = bdev.OpUnmap, nil
		if op == typeWriteZeroes {
			t.request.Op = bdev.OpWriteZeroes
		}
		return t.readRanges()
	}
	return statusUnsup
}

// span checks the data of a read or write.
func (t *task) span(sector uint64) byte {
	n := t.data.size()
	g := t.backing.desc.Geometry()
	block, count, ok := blocks(g, sector, n/sectorBytes)
	if n%sectorBytes != 0 || n > maxDataBytes || !ok || !within(g, block, count) {
		return statusIOErr
	}
	t.block, t.left = block, n
	if t.request.Op == bdev.OpRead {
		t.written = uint32(n) + 1
	}
	return statusOK
}

// readRanges copies the ranges of a discard out of the guest and checks them all, so that a bad one
// leaves the good ones before it alone.
func (t *task) readRanges() byte {
	n := t.out.size()
	if n == 0 || n%rangeBytes != 0 || n > maxRanges*rangeBytes {
		return statusIOErr
	}
	if t.rangesCopy == nil {
		t.rangesCopy = make([]byte, maxRanges*rangeBytes)
	}
	t.ranges = t.rangesCopy[:n]
	t.out.gather(t.ranges)
	g := t.backing.desc.Geometry()
	for r := t.ranges; len(r) > 0; r = r[rangeBytes:] {
		flags := binary.LittleEndian.Uint32(r[12:])
		if flags&^rangeUnmap != 0 || flags != 0 && t.request.Op == bdev.OpUnmap {
			return statusUnsup
		}
		sectors := uint64(binary.LittleEndian.Uint32(r[8:]))
		block, count, ok := blocks(g, binary.LittleEndian.Uint64(r), sectors)
		if !ok || sectors > maxRangeSectors || !within(g, block, count) {
			return statusIOErr
		}
	}
	return statusOK
}

// step asks the device for one thing after the other, as long as it answers at once.
func (t *task) step() (status byte, done bool) {
	for more := t.ask(); more; more = t.ask() {
		t.state.Store(stateSubmitting)
		t.backing.desc.Submit(&t.request)
		if t.state.CompareAndSwap(stateSubmitting, stateAway) {
			t.q.current = nil
			return 0, false
		}
		if status := t.absorb(); status != statusOK {
			return status, true
		}
	}
	return statusOK, true
}

// ask fills in the next request to the device; false means that there is none.
func (t *task) ask() bool {
	r := &t.request
	switch r.Op {
	case bdev.OpFlush:
		if t.data == nil && t.left == 0 {
			t.left = 1 // one flush, and then no more
			r.Block, r.Count, r.Data = 0, 0, nil
			return true
		}
		return false
	case bdev.OpUnmap, bdev.OpWriteZeroes:
		return t.askRange()
	default:
		return t.askData()
	}
}

// askRange takes the next range of a discard.
func (t *task) askRange() bool {
	if len(t.ranges) == 0 {
		return false
	}
	per := uint64(t.backing.desc.Geometry().BlockSizeBytes / sectorBytes)
	t.request.Block = binary.LittleEndian.Uint64(t.ranges) / per
	t.request.Count = uint64(binary.LittleEndian.Uint32(t.ranges[8:])) / per
	t.request.Data = nil
	t.ranges = t.ranges[rangeBytes:]
	return true
}

// askData takes the next blocks of a read or write: straight in guest memory where that is safe and
// the blocks lie in one piece, else through a buffer.
func (t *task) askData() bool {
	if t.left == 0 {
		return false
	}
	r := &t.request
	size := uint64(t.backing.desc.Geometry().BlockSizeBytes)
	piece := t.data.front()
	whole := uint64(len(piece)) / size * size
	stable := !t.data.unstable && whole == t.left
	r.Brief = false
	switch {
	case stable || t.backing.copies && whole > 0 && !t.held:
		r.Data, r.Brief = piece[:whole], !stable
	default:
		n := min(t.left, chunkBytes/size*size)
		t.buffer = t.q.session.controller.buffers.get(int(n)) //nolint:gosec // at most chunkBytes
		t.q.buffered += len(t.buffer.bytes)
		r.Data = t.buffer.bytes[:n]
		if r.Op == bdev.OpWrite {
			t.data.gather(r.Data)
		}
	}
	r.Block, r.Count = t.block, uint64(len(r.Data))/size
	return true
}

// absorb takes what the device has done.
func (t *task) absorb() byte {
	err := t.err
	t.err = nil
	if errors.Is(err, bdev.ErrHeld) {
		t.held = true
		return statusOK // the same again, through a buffer
	}
	n := len(t.request.Data)
	if t.buffer != nil {
		if err == nil && t.request.Op == bdev.OpRead {
			t.data.scatter(t.request.Data)
		}
		t.dropBuffer()
	}
	if n > 0 {
		t.data.skip(n)
		t.block += t.request.Count
		t.left -= uint64(n)
	}
	t.request.Data = nil
	switch {
	case err == nil:
		return statusOK
	case errors.Is(err, bdev.ErrOp):
		return statusUnsup
	default:
		return statusIOErr
	}
}

func (t *task) dropBuffer() {
	if t.buffer != nil {
		t.q.buffered -= len(t.buffer.bytes)
		t.q.session.controller.buffers.put(t.buffer)
		t.buffer = nil
	}
}

// doneByDevice is called by the device on whatever goroutine, which must not touch guest memory.
func doneByDevice(r *bdev.Request, err error) {
	t := r.Context.(*task) //nolint:errcheck // put there by newTask, so it cannot fail
	t.err = err
	if t.state.Swap(stateDone) == stateAway {
		t.q.finished(t)
	}
}

func newTask(q *queue, head uint16) *task {
	t := &task{q: q, head: head}
	t.request.Context, t.request.Done = t, doneByDevice
	return t
}

// end lets go of everything.
func (t *task) end() {
	t.dropBuffer()
	if t.backing != nil {
		t.backing.leave()
		t.backing = nil
	}
	t.data, t.status, t.request.Data = nil, nil, nil
	t.ranges = nil
	t.chain.reset()
	t.hold.put()
	t.hold, t.busy, t.held = nil, false, false
}
