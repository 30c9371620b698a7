// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// pollFor is how long a worker looks for more before it sleeps.
const pollFor = 20 * time.Microsecond

// guarded runs what touches guest memory. Memory that is not there becomes an error.
func guarded(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		fault, ok := p.(interface {
			error
			Addr() uintptr
		})
		if !ok {
			panic(p)
		}
		err = fmt.Errorf("guest memory is gone: %w", fault)
	}()
	return f()
}

// start runs a worker if the front end has said all that it needs.
func (q *queue) start() {
	if q.quit != nil || q.kick == nil || !q.enabled || !q.located || q.size == 0 || q.session.table == nil {
		return
	}
	q.quit, q.exited = make(chan struct{}), make(chan struct{})
	q.stopping.Store(false)
	q.running.Store(true)
	go func() {
		defer close(q.exited)
		if err := q.guarded(q.work); err != nil {
			q.session.fail(err)
		}
	}()
}

// guarded runs a part of the worker's duty. If that fails while the worker has a request in hand,
// nobody else will end it.
func (q *queue) guarded(f func() error) error {
	err := guarded(f)
	if err == nil {
		return nil
	}
	if q.current != nil {
		q.drop(q.current)
	}
	return fmt.Errorf("queue %d: %w", q.index, err)
}

// suspend ends the worker. Requests in flight stay there.
func (q *queue) suspend() {
	if q.quit == nil {
		return
	}
	q.stopping.Store(true)
	close(q.quit)
	<-q.exited
	q.quit = nil
	q.running.Store(false)
}

// drain suspends, answers all requests in flight, and lets go of the guest's memory.
func (q *queue) drain() error {
	q.suspend()
	err := q.guarded(func() error {
		q.stopping.Store(true)
		for q.flying.Load() > 0 || len(q.resubmit) > 0 {
			if _, err := q.fetch(); err != nil {
				return err
			}
			if q.reap(); q.flying.Load() > 0 {
				q.publish()
				<-q.wake
			}
		}
		q.publish()
		return nil
	})
	if err == nil {
		q.forget()
	}
	return err
}

// abandon suspends and then waits for all requests in flight, without answering them.
func (q *queue) abandon() {
	q.suspend()
	for {
		for q.reaped != nil {
			t := q.reaped
			q.reaped, t.next = t.next, nil
			q.drop(t)
		}
		if q.reaped = q.done.Swap(nil); q.reaped != nil {
			continue
		}
		if q.flying.Load() == 0 {
			break
		}
		<-q.wake
	}
	q.forget()
}

// forget lets go of the guest's memory. No request is in flight.
func (q *queue) forget() {
	q.hold.put()
	q.hold, q.ring, q.answers = nil, nil, q.answers[:0]
}

// work is a worker's life.
func (q *queue) work() error {
	if !q.session.waitForPredecessors(q.quit) {
		return nil
	}
	if err := q.open(); err != nil {
		return err
	}
	q.setNotify(false)
	for !q.stopping.Load() {
		worked := q.reap()
		fetched, err := q.fetch()
		if err != nil {
			return err
		}
		q.publish()
		if worked || fetched || q.poll() || !q.sleepy() {
			continue
		}
		select {
		case <-q.wake:
		case <-q.quit:
		}
		q.setNotify(false)
	}
	return nil
}

// poll looks for something to do for a short time.
func (q *queue) poll() bool {
	for began := time.Now(); time.Since(began) < pollFor && !q.stopping.Load(); runtime.Gosched() {
		if q.busy() {
			return true
		}
	}
	return false
}

// busy says whether there is something to do.
func (q *queue) busy() bool {
	return q.done.Load() != nil || q.room() && (q.ring.availIdx.load() != q.nextAvail || len(q.resubmit) > 0)
}

// sleepy asks the driver for kicks, and then looks once more; true means that there is nothing.
func (q *queue) sleepy() bool {
	q.setNotify(true)
	q.ring.fence()
	return !q.busy()
}

// setNotify says whether the driver shall kick.
func (q *queue) setNotify(on bool) {
	switch {
	case q.eventIdx && on:
		q.ring.setAvailEvent(q.nextAvail)
	case q.eventIdx:
	default:
		q.flags = usedNoNotify
		if on {
			q.flags = 0
		}
		q.ring.publish(q.usedIdx, q.flags)
	}
}
