// SPDX-License-Identifier: Apache-2.0

package target

import (
	"sync"
	"sync/atomic"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// fusion makes compare-and-write pairs atomic: while one runs, no other request changes blocks of the
// namespace. Pairs are rare, so they bear the cost: a write outside of one looks at one flag.
type fusion struct {
	// turn is held by the one pair that runs.
	turn sync.Mutex
	// active is set, with namespace.mu held, before the pair waits until writes have ended. A write
	// looks at it after counting itself.
	active atomic.Bool
	// quiet is poked when a write ends meanwhile.
	quiet chan struct{}
	// parked are writes that came meanwhile. Guarded by namespace.mu.
	parked []*request
}

// changing says whether a request that has been prepared changes blocks.
func (r *request) changing() bool {
	return r.io.Op == bdev.OpWrite || r.io.Op == bdev.OpWriteZeroes || r.io.Op == bdev.OpUnmap || r.sqe().OPC() == nvme.IOCopy
}

// mayWrite counts a write, or keeps it until the fused pair that runs is done. The queue's lock is
// held.
func (a *attachment) mayWrite(r *request) bool {
	f := &a.ns.fusion
	r.changes = true
	a.writes.Add(1)
	if !f.active.Load() {
		return true
	}
	a.written()
	a.ns.mu.Lock()
	defer a.ns.mu.Unlock()
	if !f.active.Load() {
		a.writes.Add(1)
		return true
	}
	r.keep()
	r.phase.Store(flying)
	r.inDevice = true
	a.q.flying++
	f.parked = append(f.parked, r)
	return false
}

// written ends a write that mayWrite has counted.
func (a *attachment) written() {
	a.writes.Add(-1)
	if a.ns.fusion.active.Load() {
		select {
		case a.ns.fusion.quiet <- struct{}{}:
		default:
		}
	}
}

// writing says whether writes are with the device.
func (ns *namespace) writing() bool {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for _, a := range ns.attachments {
		if a.writes.Load() > 0 {
			return true
		}
	}
	return false
}

// fuse carries out a pair that has entered the namespace, on a goroutine of its own.
func (ns *namespace) fuse(compare, write *request) {
	f := &ns.fusion
	f.turn.Lock()
	ns.mu.Lock()
	f.active.Store(true)
	ns.mu.Unlock()
	for ns.writing() {
		<-f.quiet
	}
	if err := ns.carryOut(&compare.io); err != nil {
		compare.status, write.status = statusOf(err), nvme.StatusAbortFailedFused
	} else if err := ns.carryOut(&write.io); err != nil {
		write.status = statusOf(err)
	} else if write.advance() {
		if err := ns.carryOut(&write.io); err != nil {
			write.status = statusOf(err)
		}
	}
	ns.mu.Lock()
	f.active.Store(false)
	parked := f.parked
	f.parked = nil
	for _, r := range parked {
		r.att.writes.Add(1)
	}
	ns.mu.Unlock()
	f.turn.Unlock()
	for _, r := range parked {
		ns.cfg.Device.Submit(&r.io)
	}
	compare.q.push(compare)
	write.q.push(write)
}

// carryOut submits one part of a pair and waits for it.
func (ns *namespace) carryOut(part *bdev.Request) error {
	done := make(chan error, 1)
	ns.cfg.Device.Submit(&bdev.Request{
		Op: part.Op, Block: part.Block, Count: part.Count, Data: part.Data,
		Done: func(_ *bdev.Request, err error) { done <- err },
	})
	return <-done
}

// breakPair fails the first half of a pair when the command after it is not the second.
func (q *queue) breakPair(next nvme.SQE) {
	r := q.first
	if r == nil || next.FUSE() == nvme.FuseSecond {
		return
	}
	q.first = nil
	r.status = nvme.StatusAbortMissingFused
	if !r.receiving {
		q.finish(r)
	}
}

// fused takes one half of a pair (base 3.4.2), with its data if that came along.
func (q *queue) fused(e nvme.SQE, data []byte) error {
	switch {
	case !q.controller.enabled():
		q.answer(e.CID(), nvme.StatusCommandSequence, 0)
		return nil
	case e.FUSE() == nvme.FuseSecond && q.first == nil:
		q.answer(e.CID(), nvme.StatusAbortMissingFused|nvme.DNR, 0)
		return nil
	case e.FUSE() != nvme.FuseFirst && e.FUSE() != nvme.FuseSecond:
		q.answer(e.CID(), nvme.StatusInvalidField|nvme.DNR, 0)
		return nil
	}
	n := uint32(len(data)) //nolint:gosec // bounded by the capsule
	if data == nil {
		length, err := q.transferLength(e)
		if err != nil {
			return err
		}
		n = length
	}
	r, err := q.take(e)
	if err != nil {
		return err
	}
	if n > 0 {
		r.buf = q.target.buffers.get(n)
		copy(r.buf.b, data)
	}
	if e.FUSE() == nvme.FuseFirst {
		q.first = r
	} else {
		r.mate, q.first.mate = q.first, r
		q.first = nil
	}
	if data == nil && n > 0 {
		r.receiving = true
		q.askForData(r)
		return nil
	}
	q.pairReady(r)
	return nil
}

// pairReady goes on with half of a pair whose data is there.
func (q *queue) pairReady(r *request) {
	mate := r.mate
	switch {
	case mate == nil && q.first == r: // the second half is still to come
		return
	case mate == nil: // and will not come
		q.finish(r)
		return
	case mate.receiving:
		return
	}
	first, second := r, mate
	if r.sqe().FUSE() == nvme.FuseSecond {
		first, second = mate, r
	}
	a, status := q.checkPair(first, second)
	if status != nvme.Success {
		q.refuse(first, status)
		q.refuse(second, nvme.StatusAbortFailedFused)
		return
	}
	for _, half := range []*request{first, second} {
		half.att = a
		half.phase.Store(flying)
		half.inDevice = true
		q.flying++
	}
	q.target.connections.Go(func() { a.ns.fuse(first, second) })
}

// checkPair prepares both halves and lets them into the namespace, or says why not.
func (q *queue) checkPair(first, second *request) (*attachment, nvme.Status) {
	c, w := first.sqe(), second.sqe()
	switch {
	case first.status != nvme.Success:
		return nil, first.status
	case second.status != nvme.Success:
		return nil, second.status
	case c.OPC() != nvme.IOCompare || w.OPC() != nvme.IOWrite,
		c.NSID() != w.NSID() || c.SLBA() != w.SLBA() || c.Blocks() != w.Blocks():
		return nil, nvme.StatusInvalidField | nvme.DNR
	}
	a, status := q.use(c)
	if status != nvme.Success {
		return nil, status
	}
	for _, half := range []*request{first, second} {
		if status := q.prepare(half, a); status != nvme.Success {
			return nil, status
		}
	}
	if !a.enter() {
		return nil, nvme.StatusInvalidNamespace | nvme.DNR
	}
	a.flying.Add(1) // for the second half: the first keeps the namespace open
	return a, nvme.Success
}
