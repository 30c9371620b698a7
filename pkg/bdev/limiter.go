// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"sync"
	"time"
)

const (
	// quantum is the time for which a limit gives out tokens at once, as in SPDK.
	quantum         = time.Millisecond
	quantaPerSecond = uint64(time.Second / quantum)
	// dispatchAtOnce is how many requests one goroutine hands to the device before another goes on:
	// it is perhaps a submitter's, which has other work.
	dispatchAtOnce = 64
)

// limiter lets reads and writes through to a device as limits allow. Reads are let through in the
// order in which they came, and writes likewise; one may overtake the other when a limit holds up only
// one of the two. Requests of other kinds are not limited, as in SPDK.
type limiter struct {
	device Device

	mu sync.Mutex
	// limit is what is set; guarded by mu.
	limit Limits
	// all, bytes, read and write are the buckets of limit; guarded by mu.
	all, bytes, read, write bucket
	// filled is the monotonic time up to which the buckets have been filled; guarded by mu.
	filled int64
	// reads and writes wait; guarded by mu.
	reads, writes waiting
	// dispatching says that a goroutine hands requests to the device; guarded by mu.
	dispatching bool
	// timer calls dispatch. It is set whenever requests wait and nobody dispatches; guarded by mu.
	timer *time.Timer
}

// waiting is a queue of requests, linked by their next.
type waiting struct{ head, tail *Request }

func (w *waiting) push(r *Request) {
	r.next = nil
	if w.tail == nil {
		w.head = r
	} else {
		w.tail.next = r
	}
	w.tail = r
}

func (w *waiting) pop() *Request {
	r := w.head
	w.head = r.next
	if w.head == nil {
		w.tail = nil
	}
	r.next = nil
	return r
}

func newLimiter(device Device, limit Limits) *limiter {
	l := &limiter{device: device, filled: nanotime()}
	l.set(limit)
	return l
}

// shown returns the limits.
func (l *limiter) shown() Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit
}

// set changes the buckets; the caller holds mu, or has just made l.
func (l *limiter) set(limit Limits) {
	l.limit = limit
	l.all.set(limit.IOPS)
	l.bytes.set(limit.Bytes)
	l.read.set(limit.ReadBytes)
	l.write.set(limit.WriteBytes)
}

// change sets other limits. What they let through goes on another goroutine.
func (l *limiter) change(limit Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(limit)
	l.filled = nanotime()
	if !l.empty() && !l.dispatching {
		l.wake(0)
	}
}

// empty says whether nothing waits; the caller holds mu.
func (l *limiter) empty() bool { return l.reads.head == nil && l.writes.head == nil }

// limits says whether requests of the kind are limited at all.
func (*limiter) limits(op Op) bool { return op == OpRead || op == OpWrite }

// submit hands a read or write to the device now, or when the limits let it. The request has the time
// of its submission.
func (l *limiter) submit(r *Request) {
	l.mu.Lock()
	if l.empty() && !l.dispatching {
		l.fill(false)
	}
	if r.Op == OpRead {
		l.reads.push(r)
	} else {
		l.writes.push(r)
	}
	if l.dispatching {
		l.mu.Unlock()
		return
	}
	l.run()
}

// dispatch is called by the timer.
func (l *limiter) dispatch() {
	l.mu.Lock()
	if l.dispatching {
		l.mu.Unlock()
		return
	}
	l.run()
}

// run hands what the limits let through to the device, in order. The caller holds mu, and nobody else
// dispatches; run unlocks mu.
func (l *limiter) run() {
	l.dispatching = true
	for range dispatchAtOnce {
		l.fill(true)
		r := l.admit()
		if r == nil {
			break
		}
		l.mu.Unlock()
		l.device.Submit(r)
		l.mu.Lock()
	}
	l.dispatching = false
	switch {
	case l.empty():
	case l.next() != nil:
		l.wake(0)
	default:
		l.wake(time.Duration(l.filled) + quantum - time.Duration(nanotime()))
	}
	l.mu.Unlock()
}

// fill adds the quanta that have passed. waited says that requests waited all the while, so that what
// was not given out in time is owed to them. The caller holds mu.
func (l *limiter) fill(waited bool) {
	n := (nanotime() - l.filled) / int64(quantum)
	if n <= 0 {
		return
	}
	l.filled += n * int64(quantum)
	for _, b := range []*bucket{&l.all, &l.bytes, &l.read, &l.write} {
		b.refill(n, waited)
	}
}

// next returns the queue whose head the limits let through, the older head if they do both, or nil.
// The caller holds mu.
func (l *limiter) next() *waiting {
	if !l.all.open() || !l.bytes.open() {
		return nil
	}
	read := l.reads.head != nil && l.read.open()
	write := l.writes.head != nil && l.write.open()
	switch {
	case read && (!write || l.reads.head.began <= l.writes.head.began):
		return &l.reads
	case write:
		return &l.writes
	default:
		return nil
	}
}

// admit takes the next request out of its queue and its cost out of the buckets; nil if the limits
// let none through. The caller holds mu.
func (l *limiter) admit() *Request {
	w := l.next()
	if w == nil {
		return nil
	}
	r := w.pop()
	size := int64(len(r.Data))
	l.all.take(1)
	l.bytes.take(size)
	if r.Op == OpRead {
		l.read.take(size)
	} else {
		l.write.take(size)
	}
	return r
}

// wake has dispatch called after d; the caller holds mu.
func (l *limiter) wake(d time.Duration) {
	if l.timer == nil {
		l.timer = time.AfterFunc(d, l.dispatch)
		return
	}
	l.timer.Reset(d)
}
