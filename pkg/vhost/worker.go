// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// A worker looks for more for pollFor before it sleeps. After it found nothing missesAllowed times in
// a row it sleeps at once, sleepsBetweenTries times: a driver that takes longer would only lose the
// core that both of them need.
const (
	pollFor            = 20 * time.Microsecond
	missesAllowed      = 4
	sleepsBetweenTries = 256
)

// exitsWithin is how long a worker takes to exit at most, unless something keeps it.
const exitsWithin = 500 * time.Millisecond

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

// guarded runs a part of the worker's duty. Guest memory that is not there becomes an error, and so
// does a mistake of ours in reading what a driver wrote, which should not cost others their disks. A
// mistake inside a device is a panic. After an error no request is in the worker's hand.
func (q *queue) guarded(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if p := recover(); p != nil {
			err = q.caught(p)
		}
		if err != nil {
			if q.current != nil { // nobody else will end it
				q.drop(q.current)
			}
			err = fmt.Errorf("queue %d: %w", q.index, err)
		}
	}()
	return f()
}

// caught turns a panic into an error, if it may be one.
func (q *queue) caught(p any) error {
	fault, ok := p.(interface {
		error
		Addr() uintptr
	})
	if ok {
		return fmt.Errorf("guest memory is gone: %w", fault)
	}
	mistake, ok := p.(runtime.Error)
	inDevice := q.current != nil && q.current.state.Load() == stateSubmitting
	if !ok || inDevice {
		panic(p)
	}
	q.session.log.Error("a mistake in reading requests", "queue", q.index, "err", mistake, "stack", string(debug.Stack()))
	return fmt.Errorf("%w: %w", errMistake, mistake)
}

// errMistake is in the chain of errors that should not be.
var errMistake = errors.New("this back end is wrong about what the driver wrote")

// suspend ends the worker. Requests in flight stay there.
func (q *queue) suspend() {
	if q.quit == nil {
		return
	}
	q.stopping.Store(true)
	close(q.quit)
	q.awaitExit()
	q.quit = nil
	q.running.Store(false)
}

// awaitExit waits for the worker. A front end that has made its eventfd a waiting one and has filled
// its counter keeps the worker in a write: to empty the counter frees it. In case that the front end
// is an honest one, and only the device slow, the interrupt is made up for.
func (q *queue) awaitExit() {
	timer := time.NewTimer(exitsWithin)
	defer timer.Stop()
	for emptied := false; ; {
		select {
		case <-q.exited:
			if emptied {
				q.call.signal()
			}
			return
		case <-timer.C:
			if q.call != nil {
				emptied = q.call.empty() || emptied
			}
			timer.Reset(exitsWithin)
		}
	}
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

// poll looks for something to do for a short time, if that has paid off lately.
func (q *queue) poll() bool {
	if q.misses >= missesAllowed {
		if q.misses++; q.misses < missesAllowed+sleepsBetweenTries {
			return false
		}
		q.misses = missesAllowed - 1
	}
	for began := time.Now(); time.Since(began) < pollFor && !q.stopping.Load(); runtime.Gosched() {
		if q.busy() {
			q.misses = 0
			return true
		}
	}
	q.misses++
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
