// SPDX-License-Identifier: Apache-2.0

package target

import (
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// io carries out a command of an I/O queue (nvm 3). data is what came in the capsule.
func (q *queue) io(e nvme.SQE, data []byte) error {
	a, status := q.use(e)
	if status != nvme.Success {
		q.answer(e.CID(), status, 0)
		return nil
	}
	if e.OPC() == nvme.IORead {
		return q.read(e, a)
	}
	r, err := q.take(e)
	if err != nil {
		return err
	}
	switch {
	case len(data) == 0:
	case e.OPC() == nvme.IOWrite && a.ns.memory != nil:
		r.lent = data // written before this returns
	default:
		r.buf = q.target.buffers.get(uint32(len(data))) //nolint:gosec // bounded by the capsule
		copy(r.buf.b, data)
	}
	q.start(r, a)
	return nil
}

// ioWithData carries out a command whose data came after an R2T.
func (q *queue) ioWithData(r *request) {
	a, status := q.use(r.sqe())
	if status != nvme.Success {
		q.refuse(r, status)
		return
	}
	q.start(r, a)
}

// refuse answers a request that no device has seen.
func (q *queue) refuse(r *request, status nvme.Status) {
	q.answer(r.cid, status, 0)
	q.recycle(r)
}

// use returns the queue's attachment to the namespace of a command, or why there is none.
func (q *queue) use(e nvme.SQE) (*attachment, nvme.Status) {
	nsid := e.NSID()
	ns := q.controller.subsystem.namespace(nsid)
	if ns == nil {
		return nil, nvme.StatusInvalidNamespace | nvme.DNR
	}
	if status := q.controller.anaStatus(ns); status != nvme.Success {
		return nil, status
	}
	if int(nsid) <= len(q.attachments) {
		if a := q.attachments[nsid-1]; a != nil && a.ns == ns {
			return a, nvme.Success
		}
	}
	for len(q.attachments) < int(nsid) {
		q.attachments = append(q.attachments, nil)
	}
	if old := q.attachments[nsid-1]; old != nil {
		q.attachments[nsid-1] = nil // its namespace has been removed, and drain closes it
	}
	a := ns.attach(q)
	if a == nil {
		return nil, nvme.StatusInvalidNamespace | nvme.DNR
	}
	q.attachments[nsid-1] = a
	return a, nvme.Success
}

// span checks the range and the flags of a command that names blocks. It returns the length in bytes.
func (a *attachment) span(e nvme.SQE) (bytes uint64, status nvme.Status) {
	if e.CDW(12)&(nvme.CDW12PRACT|nvme.CDW12PRCHK) != 0 {
		return 0, nvme.StatusInvalidField | nvme.DNR // no namespace has protection information
	}
	count := uint64(e.Blocks())
	blocks := a.ns.cfg.Device.Geometry().Blocks
	if first := e.SLBA(); first >= blocks || count > blocks-first {
		return 0, nvme.StatusLBAOutOfRange | nvme.DNR
	}
	return count * a.ns.block, nvme.Success
}

// read carries out Read (nvm 3.2.4). From memory it is answered at once, without a copy.
func (q *queue) read(e nvme.SQE, a *attachment) error {
	room, err := q.transferLength(e)
	if err != nil {
		return err
	}
	if !a.batch {
		q.room() // a flush after this would let go of the memory before it is sent
		if !a.enter() {
			q.answer(e.CID(), nvme.StatusInvalidNamespace|nvme.DNR, 0)
			return nil
		}
		if a.ns.memory != nil {
			a.batch = true
			q.out.users = append(q.out.users, a)
		}
	}
	size, status := a.span(e)
	if status == nvme.Success && size > uint64(room) {
		status = nvme.StatusSGLDataLengthInvalid | nvme.DNR
	}
	if status != nvme.Success {
		if !a.batch {
			a.leave()
		}
		q.answer(e.CID(), status, 0)
		return nil
	}
	if a.ns.memory != nil {
		if memory := a.ns.memory.Bytes(e.SLBA(), uint64(e.Blocks())); memory != nil {
			return q.readMemory(e, a, memory)
		}
		// The device wants a request, which the batch's count is not for.
		if !a.enter() {
			q.answer(e.CID(), nvme.StatusInvalidNamespace|nvme.DNR, 0)
			return nil
		}
	}
	r, err := q.take(e)
	if err != nil {
		a.leave()
		return err
	}
	r.buf = q.target.buffers.get(uint32(size)) //nolint:gosec // at most MaxIOSizeBytes
	r.att = a
	r.io.Op, r.io.Block, r.io.Count, r.io.Data = bdev.OpRead, e.SLBA(), uint64(e.Blocks()), r.buf.b
	q.submit(r)
	return nil
}

// readMemory answers a read with the memory itself; the attachment keeps it valid until the flush.
func (q *queue) readMemory(e nvme.SQE, a *attachment, memory []byte) error {
	if a.counter != nil {
		a.counter.CountRead(uint64(len(memory)), time.Since(q.began))
	}
	if !q.outgoing.DataDigest {
		q.answerData(e.CID(), memory)
		return nil
	}
	// Somebody may write these blocks between the digest and the flush, so both take a copy.
	r, err := q.take(e)
	if err != nil {
		return err
	}
	r.buf = q.target.buffers.get(uint32(len(memory))) //nolint:gosec // at most MaxIOSizeBytes
	copy(r.buf.b, memory)
	q.sendBuffer(r)
	return nil
}

// start hands a command other than Read to its device.
func (q *queue) start(r *request, a *attachment) {
	status := q.prepare(r, a)
	if status != nvme.Success {
		q.refuse(r, status)
		return
	}
	if r.io.Op == 0 { // nothing to do, such as hints
		q.refuse(r, nvme.Success)
		return
	}
	if !a.enter() {
		q.refuse(r, nvme.StatusInvalidNamespace|nvme.DNR)
		return
	}
	r.att = a
	if r.changing() && !q.hostListens() {
		a.leave()
		q.recycle(r)
		return // no answer: nobody would hear it
	}
	if r.changing() && !a.mayWrite(r) {
		return // a fused pair has the namespace, and submits r when it is done
	}
	q.submit(r)
}

// prepare fills in the request for the device: the first one, if there are more.
func (q *queue) prepare(r *request, a *attachment) nvme.Status {
	e := r.sqe()
	r.io.Op, r.io.Block, r.io.Count, r.io.Data, r.io.Brief = 0, 0, 0, nil, false
	switch e.OPC() {
	case nvme.IOFlush:
		r.io.Op = bdev.OpFlush
		return nvme.Success
	case nvme.IODSM:
		return r.prepareDSM(a)
	case nvme.IOCopy:
		return q.prepareCopy(r, a)
	case nvme.IOWrite, nvme.IOCompare, nvme.IOWriteZeroes:
	default:
		return nvme.StatusInvalidOpcode | nvme.DNR
	}
	size, status := a.span(e)
	if status != nvme.Success {
		return status
	}
	r.io.Block, r.io.Count = e.SLBA(), uint64(e.Blocks())
	if e.OPC() != nvme.IOWriteZeroes {
		data := r.payload()
		if uint64(len(data)) < size || data == nil {
			return nvme.StatusSGLDataLengthInvalid | nvme.DNR
		}
		r.io.Data, r.io.Brief = data[:size], r.lent != nil
	}
	switch e.OPC() {
	case nvme.IOCompare:
		r.io.Op = bdev.OpCompare
		return nvme.Success
	case nvme.IOWrite:
		r.io.Op = bdev.OpWrite
	default:
		if e.CDW(12)&nvme.CDW12DEAC != 0 {
			return nvme.StatusInvalidField | nvme.DNR // DLFEAT does not offer it
		}
		r.io.Op = bdev.OpWriteZeroes
	}
	if e.CDW(12)&nvme.CDW12FUA != 0 {
		r.step = 1
	}
	return nvme.Success
}

// prepareDSM checks all ranges of a Dataset Management before the first one is carried out.
func (r *request) prepareDSM(a *attachment) nvme.Status {
	e := r.sqe()
	if r.buf == nil {
		return nvme.StatusSGLDataLengthInvalid | nvme.DNR
	}
	blocks := a.ns.cfg.Device.Geometry().Blocks
	for i := range e.DSMRanges() {
		d, err := nvme.DecodeDSM(r.buf.b, i)
		if err != nil {
			return nvme.StatusSGLDataLengthInvalid | nvme.DNR
		}
		if d.SLBA > blocks || uint64(d.Blocks) > blocks-d.SLBA {
			return nvme.StatusLBAOutOfRange | nvme.DNR
		}
	}
	if e.DSMDeallocate() {
		r.step = e.DSMRanges()
		r.advance()
	}
	return nvme.Success
}

// advance prepares the next part of a command that has several: a range, or the flush that makes a
// write durable. It says whether there is one.
func (r *request) advance() bool {
	if r.step == 0 {
		return false
	}
	e := r.sqe()
	if e.OPC() == nvme.IOCopy && r.step == 2 {
		r.step = int(e.CDW(12) >> 30 & 1) // a flush for FUA
		r.io.Op, r.io.Block = bdev.OpWrite, e.SLBA()
		return true
	}
	if e.OPC() != nvme.IODSM {
		r.step = 0
		r.io.Op, r.io.Block, r.io.Count, r.io.Data, r.io.Brief = bdev.OpFlush, 0, 0, nil, false
		return true
	}
	for r.step > 0 {
		d, err := nvme.DecodeDSM(r.buf.b, e.DSMRanges()-r.step)
		r.step--
		if err == nil && d.Blocks > 0 {
			r.io.Op, r.io.Block, r.io.Count, r.io.Data = bdev.OpUnmap, d.SLBA, uint64(d.Blocks), nil
			return true
		}
	}
	return false
}
