// SPDX-License-Identifier: Apache-2.0

package target

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// stuckAfter is how long a namespace that is being removed waits for a queue which does not finish
// before it cuts that queue off. Requests of healthy hosts and devices take far less.
const stuckAfter = 5 * time.Second

// namespace is a device that queues send requests to. Each queue that uses it has an attachment,
// which counts the queue's requests; drain waits until all counts are zero. So the path of a request
// touches no memory that queues share.
type namespace struct {
	cfg    NamespaceConfig // immutable
	shift  uint8           // the size of a block's data as a power of two
	block  uint64          // the size of a block in bytes, metadata included
	memory bdev.Memory     // nil when blocks are not in memory
	// closing is set before drain looks at the counts, and a queue looks at it after counting.
	closing atomic.Bool
	idle    chan struct{} // poked when a count falls to zero while closing
	gone    chan struct{} // closed when drained

	fusion fusion

	mu          sync.Mutex
	attachments []*attachment // guarded by mu
}

func newNamespace(cfg NamespaceConfig) *namespace {
	ns := &namespace{
		cfg: cfg, shift: uint8(bits.TrailingZeros32(cfg.dataBytes())), block: uint64(cfg.Device.Geometry().BlockSizeBytes), //nolint:gosec // at most 16
		idle: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	ns.fusion.quiet = make(chan struct{}, 1)
	switch d := cfg.Device.(type) {
	case interface{ Memory() (bdev.Memory, bool) }:
		ns.memory, _ = d.Memory()
	case bdev.Memory:
		ns.memory = d
	}
	return ns
}

// attachment is one queue's use of one namespace. batch belongs to the queue's lock.
type attachment struct {
	ns      *namespace
	q       *queue        // nil when it is not for the requests of a queue
	counter *bdev.Counter // counts reads in place; nil when the device counts nothing
	flying  atomic.Int64
	writes  atomic.Int64 // those of flying that change blocks, and are with the device
	// batch says that the queue holds a count for reads in place that are not written out yet.
	batch bool
}

// attach makes a queue a user of ns, or returns nil when ns is being removed.
func (ns *namespace) attach(q *queue) *attachment {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.closing.Load() {
		return nil
	}
	a := &attachment{ns: ns, q: q}
	if d, ok := ns.cfg.Device.(interface{ NewCounter() *bdev.Counter }); ok && ns.memory != nil {
		a.counter = d.NewCounter()
	}
	ns.attachments = append(ns.attachments, a)
	return a
}

// detach ends the use; the queue has nothing in flight.
func (a *attachment) detach() {
	ns := a.ns
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if i := slices.Index(ns.attachments, a); i >= 0 {
		ns.attachments = slices.Delete(ns.attachments, i, i+1)
		a.close()
	}
}

func (a *attachment) close() {
	if a.counter != nil {
		a.counter.Close()
	}
}

// enter counts a request, and says whether it may go to the device.
func (a *attachment) enter() bool {
	a.flying.Add(1)
	if a.ns.closing.Load() {
		a.leave()
		return false
	}
	return true
}

// leave ends what enter began.
func (a *attachment) leave() {
	if a.flying.Add(-1) == 0 && a.ns.closing.Load() {
		select {
		case a.ns.idle <- struct{}{}:
		default:
		}
	}
}

// drain lets no further request in and returns when those inside have left. Only one caller.
func (ns *namespace) drain() {
	ns.closing.Store(true)
	stuck := time.NewTimer(stuckAfter)
	defer stuck.Stop()
	for ns.busy(nil) {
		select {
		case <-ns.idle:
		case <-stuck.C:
			ns.busy(func(q *queue) { q.fail("it held up the removal of a namespace") })
		}
	}
	ns.mu.Lock()
	for _, a := range ns.attachments {
		a.close()
	}
	ns.attachments = nil
	ns.mu.Unlock()
	if ns.cfg.Released != nil {
		ns.cfg.Released()
	}
	close(ns.gone)
}

// busy says whether requests are inside, and calls visit, if set, for their queues.
func (ns *namespace) busy(visit func(*queue)) bool {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	busy := false
	for _, a := range ns.attachments {
		if a.flying.Load() > 0 {
			busy = true
			if visit != nil && a.q != nil {
				visit(a.q)
			}
		}
	}
	return busy
}
