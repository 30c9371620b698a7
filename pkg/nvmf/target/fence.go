// SPDX-License-Identifier: Apache-2.0

package target

import (
	"net"
	"syscall"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// A host that closes a connection regards its commands as undone, and sends them again over another
// one. What it sent before may still lie in the socket here: a write among it, carried out late,
// would undo newer ones. So a queue looks whether its host still listens before it begins writes, and
// a host that connects waits until its abandoned queues have ended.

// closedByHost is the reason of an ordinary end.
const closedByHost = "closed by the host"

// probe finds out without reading whether the peer has closed a connection. It may be used by one
// goroutine at a time.
type probe struct {
	raw  syscall.RawConn
	look func(fd uintptr)
	gone bool
}

func (p *probe) init(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return // the connection is closed, which reading will show
	}
	p.raw = raw
	var fds [1]unix.PollFd
	p.look = func(fd uintptr) {
		fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLRDHUP} //nolint:gosec // a descriptor
		n, err := unix.Poll(fds[:], 0)
		p.gone = err == nil && n > 0
	}
}

// hungUp says whether the peer has closed the connection.
func (p *probe) hungUp() bool {
	return p.raw == nil || p.raw.Control(p.look) != nil || p.gone
}

// hostListens says whether the host is there to hear about a write; if not it fails the queue. It
// looks once for each piece that was read.
func (q *queue) hostListens() bool {
	if !q.probed {
		q.probed = true
		if q.probe.hungUp() {
			q.fail(closedByHost)
		}
	}
	return !q.failed()
}

// fence waits until the queues that a host has abandoned have ended, before the host connects another
// one. Devices that do not finish can hold it up for stuckAfter at most.
func (t *Target) fence(d *nvme.ConnectData) {
	var going []*queue
	t.mu.RLock()
	if s := t.subsystems[d.SUBNQN]; s != nil {
		for _, c := range s.controllers {
			if c.hostNQN == d.HOSTNQN && c.hostID == uuid.UUID(d.HOSTID) {
				going = append(going, c.abandoned()...)
			}
		}
	}
	t.mu.RUnlock()
	if len(going) == 0 {
		return
	}
	limit := time.NewTimer(stuckAfter)
	defer limit.Stop()
	for _, q := range going {
		select {
		case <-q.ended:
		case <-limit.C:
			t.log.Warn("host connects while commands of its last connection are in flight", "subsystem", d.SUBNQN, "host", d.HOSTNQN)
			return
		}
	}
}

// abandoned returns the queues that are going, after failing those whose host has closed them. With
// the admin queue all are.
func (c *controller) abandoned() []*queue {
	var going []*queue
	whole := false
	for _, q := range c.queueList() {
		var p probe
		p.init(q.socket)
		if q.failed() || p.hungUp() {
			q.fail(closedByHost)
			going = append(going, q)
			whole = whole || q.qid == 0
		}
	}
	if !whole {
		return going
	}
	c.shutdown(closedByHost)
	return c.queueList()
}
