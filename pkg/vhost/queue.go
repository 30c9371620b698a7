// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// queue is one virtqueue of a session. The session's goroutine configures it while no worker runs;
// the worker has everything else to itself, except finished, kicks and what is atomic.
type queue struct {
	session *session
	index   int

	// What the front end has said.
	size    uint16
	addrs   ringAddrs
	located bool // addrs are set
	base    uint16
	kick    *eventfd
	call    *eventfd
	errs    *eventfd
	enabled bool
	// fresh says that the next start begins at base, or where the marks of requests in flight say.
	fresh bool

	// What a worker works with.
	hold     *hold
	ring     *ring
	track    *track
	tasks    []*task // by descriptor, made when first used
	indirect bool
	eventIdx bool
	// nextAvail is the index of the next request to take, usedIdx that of the next answer.
	nextAvail, usedIdx uint16
	// signalled is usedIdx when the driver was last thought of; valid once told.
	signalled uint16
	told      bool
	flags     uint16 // of the used ring
	answers   []answer
	resubmit  []uint16
	// current is the request that the worker has in hand, and reaped are those it will take up next,
	// linked like done.
	current, reaped *task
	// misses counts how often in a row the worker looked for more in vain, and then its sleeps.
	misses int
	// buffered is the number of bytes of buffers in use.
	buffered int
	// flying is the number of requests that have not been answered. The worker changes it.
	flying atomic.Int32
	// running says, to those who look on, that there is a worker.
	running atomic.Bool

	// done are the requests which the device has ended, the latest first.
	done atomic.Pointer[task]
	// wake makes a sleeping worker look around.
	wake chan struct{}
	// quit ends the worker when it is closed, which stopping tells it on the way; exited follows.
	quit     chan struct{}
	stopping atomic.Bool
	exited   chan struct{}
}

// answer is an element of the used ring that has not been published.
type answer struct {
	head    uint16
	written uint32
}

// answersAtOnce is after how many answers the driver hears of them while there is more to do.
const answersAtOnce = 16

// hold is a queue's use of a memory table: its own and that of its requests in flight.
type hold struct {
	table *table
	users int
}

// put ends one use; the last one lets go of the table.
func (h *hold) put() {
	if h == nil {
		return
	}
	if h.users--; h.users == 0 {
		_ = h.table.release() // unmapping what was mapped cannot fail
	}
}

func newQueue(s *session, index int) *queue {
	return &queue{session: s, index: index, fresh: true, wake: make(chan struct{}, 1)}
}

// finished is called when the device has ended a request that it did not end at once.
func (q *queue) finished(t *task) {
	for {
		head := q.done.Load()
		t.next = head
		if q.done.CompareAndSwap(head, t) {
			if head == nil {
				q.poke()
			}
			return
		}
	}
}

// poke makes the worker look around.
func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// reap answers what the device has done; false means that there was nothing.
func (q *queue) reap() bool {
	if q.done.Load() == nil {
		return false
	}
	for q.reaped = q.done.Swap(nil); q.reaped != nil; {
		t := q.reaped
		q.reaped, t.next = t.next, nil
		q.current = t
		status, done := t.absorb(), true
		if status == statusOK {
			status, done = t.step()
		}
		if done {
			q.answer(t, status)
		}
	}
	return true
}

// answer ends a request.
func (q *queue) answer(t *task, status byte) {
	*t.status = status
	written := t.written
	if status != statusOK {
		written = 1
	}
	q.answers = append(q.answers, answer{t.head, written})
	q.drop(t)
	if len(q.answers) >= answersAtOnce {
		q.publish()
	}
}

// drop lets go of a request that the device does not have.
func (q *queue) drop(t *task) {
	q.current = nil
	t.end()
	q.flying.Add(-1)
}

// publish shows the driver the answers, and tells it if it wants to be told.
func (q *queue) publish() {
	if len(q.answers) == 0 {
		return
	}
	idx := q.usedIdx
	for _, a := range q.answers {
		q.ring.setUsed(idx, a.head, a.written)
		idx++
	}
	if q.track != nil {
		q.track.answering(q.answers, q.usedIdx)
	}
	q.ring.publish(idx, q.flags)
	q.usedIdx = idx
	if q.track != nil {
		q.track.answered(q.answers, idx)
	}
	q.answers = q.answers[:0]
	if q.call != nil && q.wanted() {
		q.call.signal()
	}
}

// wanted says whether the driver wants an interrupt for what has been published.
func (q *queue) wanted() bool {
	q.ring.fence()
	if !q.eventIdx {
		return q.ring.availFlags()&availNoInterrupt == 0
	}
	before, told := q.signalled, q.told
	q.signalled, q.told = q.usedIdx, true
	return !told || needEvent(q.ring.usedEvent.load(), q.usedIdx, before)
}

// fetch takes what the driver has made available, as far as there is room; false means nothing.
func (q *queue) fetch() (bool, error) {
	worked := false
	for len(q.resubmit) > 0 && q.room() {
		head := q.resubmit[0]
		q.resubmit = q.resubmit[1:]
		worked = true
		if err := q.run(head); err != nil {
			return worked, err
		}
	}
	for q.room() && !q.stopping.Load() {
		waiting := q.ring.availIdx.load() - q.nextAvail
		if waiting == 0 {
			break
		}
		if waiting > q.size {
			return worked, fmt.Errorf("the driver makes %d requests available in a ring of %d", waiting, q.size)
		}
		worked = true
		for ; waiting > 0 && q.room(); waiting-- {
			head := q.ring.head(q.nextAvail)
			if head >= q.size {
				return worked, fmt.Errorf("descriptor %d is made available in a ring of %d", head, q.size)
			}
			if q.track != nil {
				q.track.take(head)
			}
			q.nextAvail++
			if err := q.run(head); err != nil {
				return worked, err
			}
		}
	}
	return worked, nil
}

// room says whether another request may be taken.
func (q *queue) room() bool {
	return q.buffered == 0 || q.session.controller.buffers.taken.Load() < maxBuffered
}

// run starts the request that begins with a descriptor.
func (q *queue) run(head uint16) error {
	t := q.tasks[head]
	if t == nil {
		t = newTask(q, head)
		q.tasks[head] = t
	}
	if t.busy {
		return fmt.Errorf("descriptor %d is made available again before its request was answered", head)
	}
	if err := t.walk(q.hold.table, q.ring, head, q.indirect); err != nil {
		return err
	}
	t.busy, t.hold = true, q.hold
	q.hold.users++
	q.flying.Add(1)
	q.current = t
	status, done, err := t.begin()
	if err != nil {
		q.drop(t)
		return err
	}
	if done {
		q.answer(t, status)
	}
	return nil
}

// open finds ring and marks, at the start of a worker.
func (q *queue) open() error {
	q.eventIdx = q.session.features&featEventIdx != 0
	q.indirect = q.session.features&featIndirect != 0
	q.hold.put()
	q.session.table.refs.Add(1)
	q.hold = &hold{table: q.session.table, users: 1}
	var err error
	if q.ring, err = newRing(q.session.table, q.addrs, q.size); err != nil {
		return err
	}
	q.told = false
	if !q.fresh {
		return nil
	}
	if q.flying.Load() > 0 {
		return errors.New("the ring is set up anew while requests are in flight")
	}
	q.fresh = false
	q.tasks = make([]*task, q.size)
	q.usedIdx, q.nextAvail, q.track, q.resubmit = q.ring.usedIdx(), q.base, nil, nil
	if q.session.inflight == nil {
		return nil
	}
	if q.track, err = q.session.inflight.queue(q.index, q.size); err != nil {
		return err
	}
	if q.resubmit, err = q.track.recover(q.usedIdx); err != nil {
		return err
	}
	q.nextAvail = q.usedIdx + uint16(len(q.resubmit)) //nolint:gosec // at most as many as descriptors
	return nil
}
