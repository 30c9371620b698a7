// SPDX-License-Identifier: Apache-2.0

package target

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// controller is one association: an admin queue and its I/O queues.
type controller struct {
	// Immutable.
	target        *Target
	subsystem     *subsystem
	listener      *listener // nil for discovery
	opts          TransportOptions
	cntlid        uint16
	hostNQN       string
	hostID        uuid.UUID
	noFlowControl bool
	// writeCache says that the subsystem had a write cache when the host connected, so that the host
	// has been told of one.
	writeCache bool

	// cc and csts are written with mu held.
	cc, csts atomic.Uint32
	// seen is when the last sign of life came, in nanoseconds of the target's clock.
	seen atomic.Int64

	mu sync.Mutex
	// Guarded by mu.
	queues    map[uint16]*queue
	closing   bool
	leaving   leaving
	ended     []*queue // queues that have ended, whose connections are still open
	kato      time.Duration
	keepAlive *time.Timer
	events    events
	features  features
}

// leaving says why I/O queues are being disconnected while the controller stays.
type leaving uint8

const (
	notLeaving leaving = iota
	resetting
	shuttingDown
)

// enabled says whether the host has enabled the controller.
func (c *controller) enabled() bool { return nvme.CC(c.cc.Load()).EN() }

// queueList returns the connected queues.
func (c *controller) queueList() []*queue {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.queues))
}

// shutdown begins the end of the association: all its queues are failed. It does not wait.
func (c *controller) shutdown(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	if c.keepAlive != nil {
		c.keepAlive.Stop()
	}
	for _, q := range c.queues {
		q.fail(reason)
	}
}

// join adds a queue that has connected. It says why not as a status.
func (c *controller) join(q *queue, qid uint16) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.queues[qid] != nil {
		return false
	}
	if qid != 0 && (c.leaving != notLeaving || !c.enabled()) {
		return false
	}
	c.queues[qid] = q
	return true
}

// leave takes out a queue whose goroutines have ended. With the admin queue the association ends.
func (c *controller) leave(q *queue) {
	if q.qid == 0 {
		c.shutdown("the admin queue has gone")
	}
	c.mu.Lock()
	delete(c.queues, q.qid)
	left := len(c.queues)
	c.ended = append(c.ended, q)
	// While the controller goes, no connection is closed before all queues have ended: to the host
	// one closed connection is the end of all.
	if left == 0 || !c.closing && (left == 1 || c.leaving == notLeaving) {
		for _, e := range c.ended {
			_ = e.conn.Close()
		}
		c.ended = nil
	}
	if left <= 1 {
		c.left()
	}
	c.mu.Unlock()
	if left > 0 {
		return
	}
	t, s := c.target, c.subsystem
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(s.controllers, c.cntlid)
	close(s.changed)
	s.changed = make(chan struct{})
	t.log.Info("controller disconnected", "subsystem", s.cfg.NQN, "cntlid", c.cntlid, "host", c.hostNQN)
}

// left completes a reset or shutdown once only the admin queue remains. mu is held.
func (c *controller) left() {
	switch c.leaving {
	case resetting:
		c.csts.Store(0)
	case shuttingDown:
		c.csts.Store(c.csts.Load()&^nvme.CSTSShutdownMask | nvme.CSTSShutdownDone)
	case notLeaving:
	}
	c.leaving = notLeaving
}

// setKATO sets the keep alive timeout as the transport allows and starts the timer; 0 has none. mu
// is held.
func (c *controller) setKATO(millis uint32) {
	if millis > 0 {
		step := uint64(c.opts.KAS) * 100
		rounded := (uint64(millis) + step - 1) / step * step
		if millis <= c.opts.MinKATOMillis {
			rounded = uint64(c.opts.MinKATOMillis)
		}
		c.kato = time.Duration(rounded) * time.Millisecond //nolint:gosec // below 2^33 seconds
	}
	if c.keepAlive != nil {
		c.keepAlive.Stop()
	}
	if c.kato > 0 {
		c.touch()
		c.keepAlive = time.AfterFunc(c.kato, c.checkKeepAlive)
	}
}

// touch notes a sign of life.
func (c *controller) touch() { c.seen.Store(time.Now().UnixNano()) }

// checkKeepAlive tears down a controller whose host has been silent for the timeout.
func (c *controller) checkKeepAlive() {
	silent := time.Duration(time.Now().UnixNano() - c.seen.Load())
	c.mu.Lock()
	kato := c.kato
	if silent < kato && !c.closing {
		c.keepAlive.Reset(kato - silent)
		c.mu.Unlock()
		return
	}
	closing := c.closing
	c.mu.Unlock()
	if !closing {
		c.target.log.Warn("keep alive timeout", "subsystem", c.subsystem.cfg.NQN, "cntlid", c.cntlid, "host", c.hostNQN, "silent", silent)
		c.shutdown("keep alive timeout")
	}
}
