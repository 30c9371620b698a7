// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// part is one command of a request: all of it, or a piece of one that is too large for one command.
// Parts are used again and again.
type part struct {
	dev   *device
	req   *bdev.Request
	group *group // nil if the part is the whole request
	// block and count are the range, data its data.
	block, count uint64
	data         []byte
	path         *ioPath // where it is in flight
	queue        *queue
	retries      int32
	counted      bool      // in path.inflight
	began        time.Time // zero unless paths count
	next         *part
	ranges       [nvme.DSMRangeSize]byte
}

// encode writes the command, and returns the data to move and whether it goes to the controller.
func (p *part) encode(e nvme.SQE) (data []byte, write bool) {
	e.SetNSID(p.path.nsid)
	switch p.req.Op {
	case bdev.OpRead:
		e.SetOPC(nvme.IORead)
	case bdev.OpWrite:
		e.SetOPC(nvme.IOWrite)
	case bdev.OpCompare:
		e.SetOPC(nvme.IOCompare)
	case bdev.OpWriteZeroes:
		e.SetOPC(nvme.IOWriteZeroes)
	case bdev.OpFlush:
		e.SetOPC(nvme.IOFlush)
		return nil, true
	case bdev.OpUnmap:
		e.SetDSM(1)
		nvme.EncodeDSM(p.ranges[:0], []nvme.DSMRange{{Blocks: uint32(p.count), SLBA: p.block}}) //nolint:gosec // bounded by the limits
		return p.ranges[:], true
	}
	e.SetSLBA(p.block)
	e.SetBlocks(uint32(p.count)) //nolint:gosec // bounded by the limits
	return p.data, p.req.Op != bdev.OpRead
}

// lost is called when the connection ended before the answer came: what was asked for may or may not
// have happened, and is done again where there is a path.
func (p *part) lost(error) {
	p.leave()
	p.dev.dispatch(p)
}

// answered is called with the answer. err is set when the data was damaged on the way.
func (p *part) answered(status nvme.Status, err error) {
	p.leave()
	switch {
	case err == nil && status.OK():
		if !p.began.IsZero() {
			p.path.stats.add(p.req.Op, p.count*uint64(p.dev.block), time.Since(p.began))
		}
		p.end(nil)
	case p.again(status, err):
		// dispatch has it
	case err != nil:
		p.end(fmt.Errorf("bdev %q: %w", p.dev.name, err))
	default:
		p.end(statusError(p.dev.name, status))
	}
}

// again submits the part once more if that may help.
func (p *part) again(status nvme.Status, err error) bool {
	host := p.dev.ctrl.host
	if err == nil {
		switch status.Code() { //nolint:exhaustive // the others are treated alike below
		case nvme.StatusANAInaccessible, nvme.StatusANAPersistentLoss, nvme.StatusANATransition:
			p.path.ana.Store(uint32(nvme.ANAInaccessible))
			p.path.path.refresh()
			p.dev.forget(p.path)
			p.dev.dispatch(p)
			return true
		case nvme.StatusInvalidNamespace:
			if p.path.path.recovery.ReconnectDelaySec == 0 {
				return false
			}
			p.path.missing.Store(true)
			p.path.path.refresh()
			p.dev.forget(p.path)
			p.dev.dispatch(p)
			return true
		case nvme.StatusAbortRequested, nvme.StatusCompareFailure:
			return false
		}
		if status.DNR() {
			return false
		}
	}
	limit := host.retryCount.Load()
	if limit >= 0 && p.retries >= limit {
		return false
	}
	p.retries++
	const patient = 3
	if p.retries <= patient {
		p.dev.dispatch(p)
		return true
	}
	time.AfterFunc(10*time.Millisecond, func() { p.dev.dispatch(p) }) // it was tried often, so without hurry
	return true
}

// leave takes the part out of its path's count.
func (p *part) leave() {
	if p.counted {
		p.counted = false
		p.path.inflight.Add(-1)
	}
}

// end gives the part back and tells the submitter, if this was the last of the request.
func (p *part) end(err error) {
	req, g, dev := p.req, p.group, p.dev
	if g != nil {
		g.end(p, err)
		return
	}
	dev.release(p)
	req.Complete(err)
}

// statusError says what a status means to users of block devices.
func statusError(name string, status nvme.Status) error {
	switch {
	case errors.Is(status, nvme.StatusCompareFailure):
		return bdev.ErrCompare
	case errors.Is(status, nvme.StatusLBAOutOfRange):
		return fmt.Errorf("bdev %q: %w: %w", name, bdev.ErrRange, status)
	case errors.Is(status, nvme.StatusNamespaceWriteProtected), errors.Is(status, nvme.StatusWriteToReadOnly):
		return fmt.Errorf("bdev %q: %w: %w", name, bdev.ErrReadOnly, status)
	}
	return fmt.Errorf("bdev %q: %w", name, status)
}

// group is a request in several parts, of which a bounded number is in flight.
type group struct {
	dev   *device
	req   *bdev.Request
	limit uint64 // blocks of one part

	mu sync.Mutex
	// next is the first block, relative to the request, that is not in a part yet; guarded by mu.
	next uint64
	// running is the number of parts; guarded by mu.
	running int
	// err is the first failure; guarded by mu.
	err error
}

// partsMax is the number of parts of a request in flight.
const partsMax = 32

// start sends the first parts.
func (g *group) start() {
	var first [partsMax]*part
	n := 0
	g.mu.Lock()
	for ; n < partsMax; n++ {
		p := g.dev.take(g.req)
		p.group = g
		if !g.cut(p) {
			g.dev.release(p)
			break
		}
		g.running++
		first[n] = p
	}
	g.mu.Unlock()
	for _, p := range first[:n] {
		g.dev.dispatch(p)
	}
}

// cut gives a part its range, or says that there is nothing left; the caller holds mu.
func (g *group) cut(p *part) bool {
	left := g.req.Count - g.next
	if left == 0 || g.err != nil {
		return false
	}
	p.block, p.count, p.retries = g.req.Block+g.next, min(left, g.limit), 0
	if g.req.Data != nil {
		size := uint64(g.dev.block)
		p.data = g.req.Data[g.next*size : (g.next+p.count)*size]
	}
	g.next += p.count
	return true
}

// end takes the result of a part, and sends the next one in its place.
func (g *group) end(p *part, err error) {
	g.mu.Lock()
	if err != nil && g.err == nil {
		g.err = err
	}
	if g.cut(p) {
		g.mu.Unlock()
		g.dev.dispatch(p)
		return
	}
	g.running--
	last, err := g.running == 0, g.err
	g.mu.Unlock()
	g.dev.release(p)
	if last {
		g.req.Complete(err)
	}
}
