// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// session is a front end's connection, from accept to the end of its last request. All members
// without a word about it belong to the goroutine of serve.
type session struct {
	controller *Controller
	conn       *conn
	log        *slog.Logger
	id         int
	vid        int
	// after are the ends of the sessions whose front end was gone before this one came. Its queues
	// wait for them.
	after []<-chan struct{}
	// ended is closed when none of the session's requests is in flight.
	ended chan struct{}

	features  uint64
	protocol  uint64
	table     *table
	inflight  *inflight
	kickers   sync.WaitGroup
	releasing atomic.Bool // the server closes, so requests in flight are answered first

	mu sync.Mutex
	// queues are those which the front end has spoken of. Only serve changes them and the eventfd for
	// their errors, under mu, which others hold to look.
	queues []*queue
	// notifier is the way to talk to the front end unasked, or nil; guarded by mu.
	notifier *notifier
	// failure is why the session ends, if it does not do so in peace; guarded by mu.
	failure error
}

func newSession(c *Controller, sock *net.UnixConn, id, vid int) *session {
	return &session{
		controller: c, conn: newConn(sock), id: id, vid: vid, ended: make(chan struct{}),
		log: c.log.With("session", fmt.Sprintf("%ss%d", c.name, vid)),
	}
}

// serve answers the front end until it goes or must go.
func (s *session) serve() {
	s.log.Info("front end connected")
	err := s.messages()
	if s.releasing.Load() {
		err = errors.Join(s.failed(), s.drainAll())
	} else if failure := s.failed(); failure != nil {
		err = failure
	}
	s.teardown()
	if err != nil && !errors.Is(err, io.EOF) {
		s.log.Warn("front end dropped", "err", err)
		return
	}
	s.log.Info("front end disconnected")
}

// messages handles one message after the other.
func (s *session) messages() error {
	for {
		m, err := s.conn.read()
		if err == nil {
			s.log.Debug("message", "request", m.request, "bytes", len(m.payload))
			err = s.answer(m)
		}
		s.conn.drop(m)
		if err != nil {
			return err
		}
	}
}

// answer handles a message, and acknowledges it if the front end asked for that. What is refused for
// being impossible does not end the session if the front end hears of it.
func (s *session) answer(m *message) error {
	answered, err := s.handle(m)
	if answered || m.flags&flagNeedReply == 0 || s.protocol&protoReplyAck == 0 {
		if errors.Is(err, errHarmless) {
			return nil
		}
		return err
	}
	var ack [8]byte
	if err != nil {
		ack[0] = 1
	}
	sendErr := s.conn.send(m.request, ack[:], -1)
	if errors.Is(err, errHarmless) || errors.Is(err, errUnknown) {
		s.log.Warn("message refused", "err", err)
		err = nil
	}
	return errors.Join(err, sendErr)
}

// fail makes the session end with a reason. Safe on any goroutine.
func (s *session) fail(err error) {
	s.mu.Lock()
	if s.failure == nil {
		s.failure = err
	}
	for _, q := range s.queues {
		if q != nil && q.errs != nil {
			q.errs.signal()
		}
	}
	s.mu.Unlock()
	s.wakeReader()
}

func (s *session) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// release asks the session to answer what is in flight and to end. Safe on any goroutine.
func (s *session) release() {
	s.releasing.Store(true)
	s.wakeReader()
}

// wakeReader ends the wait for a message.
func (s *session) wakeReader() {
	if err := s.conn.sock.SetReadDeadline(time.Unix(1, 0)); err != nil {
		_ = s.conn.sock.Close()
	}
}

// drainAll answers all requests in flight.
func (s *session) drainAll() error {
	var errs []error
	for _, q := range s.queues {
		if q != nil {
			errs = append(errs, q.drain())
		}
	}
	return errors.Join(errs...)
}

// teardown ends everything that the session started and lets go of everything it has.
func (s *session) teardown() {
	for _, q := range s.queues {
		if q != nil {
			q.suspend()
		}
	}
	_ = s.conn.sock.Close()
	for _, q := range s.queues {
		if q != nil {
			q.abandon()
		}
	}
	s.mu.Lock()
	queues, notifier := s.queues, s.notifier
	s.queues, s.notifier = nil, nil
	s.mu.Unlock()
	var errs []error
	for _, q := range queues {
		if q != nil {
			errs = append(errs, q.kick.close(), q.call.close(), q.errs.close())
		}
	}
	s.kickers.Wait()
	notifier.close()
	errs = append(errs, s.table.release())
	if s.inflight != nil {
		errs = append(errs, s.inflight.unmap())
	}
	if err := errors.Join(errs...); err != nil {
		s.log.Error("something of a session is left over", "err", err)
	}
	close(s.ended)
}

// waitForPredecessors waits until no request of an earlier session is in flight; false means quit.
func (s *session) waitForPredecessors(quit <-chan struct{}) bool {
	for _, p := range s.after {
		select {
		case <-p:
		case <-quit:
			return false
		}
	}
	return true
}

// queue returns the queue with that index.
func (s *session) queue(index uint32) (*queue, error) {
	if index >= maxQueues {
		return nil, fmt.Errorf("there is no queue %d: the last one is %d", index, maxQueues-1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for uint32(len(s.queues)) <= index { //nolint:gosec // at most maxQueues
		s.queues = append(s.queues, nil)
	}
	q := s.queues[index]
	if q == nil {
		q = newQueue(s, int(index))
		// Without protocol features there is no message to enable a queue.
		q.enabled = s.features&featProtocol == 0
		s.queues[index] = q
	}
	return q, nil
}

// SessionInfo is what a controller tells about a front end.
type SessionInfo struct {
	// VID is the number of the session among those of all controllers, the lowest that was free. ID
	// counts the sessions of the controller from 0.
	VID, ID int
	// Name is the name of the controller, an s, and the VID.
	Name string
	// Started says that a queue is running.
	Started bool
	// MaxQueues is the number of queues that the front end has set up.
	MaxQueues int
	// InFlight is the number of requests that have not been answered.
	InFlight int
}

func (s *session) info() SessionInfo {
	i := SessionInfo{VID: s.vid, ID: s.id, Name: fmt.Sprintf("%ss%d", s.controller.name, s.vid)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, q := range s.queues {
		if q == nil {
			continue
		}
		if q.running.Load() {
			i.Started = true
			i.MaxQueues = n + 1
		}
		i.InFlight += int(q.flying.Load())
	}
	return i
}
