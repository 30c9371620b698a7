// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/tlspsk"
)

// queue is one NVMe/TCP connection with its commands in flight. It has a reader and a writer
// goroutine; both end when the connection does, whoever ends it, and done is closed after all
// commands have been answered or failed.
type queue struct {
	log *slog.Logger
	// onDead hears once why the queue ended, before its commands fail.
	onDead func(error)
	socket *net.TCPConn
	conn   net.Conn     // the socket, or TLS over it; constant once the connection is initialized
	tls    *tlspsk.Conn // nil without TLS
	raw    syscall.RawConn
	// attempt belongs to whoever sends: who has set writing, or holds mu while it is not set.
	attempt *attempt

	// Agreed at connect, then constant: framing of what is sent and received, the most data of one
	// H2CData PDU, the most data in a command capsule.
	tx, rx    nvme.Framing
	maxH2C    uint32
	inCapsule uint32

	wake       chan struct{} // the writer has work; capacity 1
	stop       chan struct{} // closed when the queue fails
	writerDone chan struct{}
	done       chan struct{}

	mu sync.Mutex
	// sent tells the reader that the writer has sent data which lay in the outbox by reference.
	sent *sync.Cond
	// The following are guarded by mu.
	err      error     // why the queue ended
	slots    []command // indexed by command identifier
	free     []uint16  // identifiers that are not in use
	head     *part     // parts that wait for an identifier
	tail     *part
	box      outbox // what is to be sent
	spare    outbox // the other half of the double buffer, when nobody sends
	writing  bool   // somebody sends
	corked   bool   // the reader is at work and will send afterwards
	inflight int
}

// command is a slot for a command in flight.
type command struct {
	busy bool
	// part is the I/O it belongs to; nil for a call.
	part *part
	// call is the admin or fabrics command it belongs to; nil for I/O.
	call *call
	// data is read into or written from.
	data  []byte
	write bool
	// moved is how many bytes have arrived, or have been asked for by R2T.
	moved uint32
	// unsent counts the pieces of data that lie in the outbox by reference.
	unsent int
	// bad is set when data arrived with a wrong digest.
	bad bool
	// partial lets the command succeed with less data than there is room for.
	partial bool
}

// call is a command that somebody waits for.
type call struct {
	sqe     [nvme.SQESize]byte
	data    []byte
	write   bool
	partial bool // success with less data than there is room for will do
	status  nvme.Status
	value   uint64
	cqe     [nvme.CQESize]byte // as it came; all zero but for the status when data came with the success
	err     error
	done    func(*call) // called once, on the reader's goroutine; must not block
}

// newQueue wraps a connection that has not been used; start begins the traffic.
func newQueue(log *slog.Logger, conn *net.TCPConn, onDead func(error)) (*queue, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("access the socket: %w", err)
	}
	q := &queue{
		log: log, onDead: onDead, socket: conn, conn: conn, raw: raw, attempt: newAttempt(),
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
		writerDone: make(chan struct{}), done: make(chan struct{}),
	}
	q.sent = sync.NewCond(&q.mu)
	return q, nil
}

// start begins the traffic with room for depth commands in flight.
func (q *queue) start(depth int) {
	q.slots = make([]command, depth)
	q.free = make([]uint16, depth)
	for i := range q.free {
		q.free[i] = uint16(depth - 1 - i) //nolint:gosec // a queue has at most 65535 entries
	}
	go q.writeLoop()
	go q.readLoop()
}

// fail ends the queue. Only the first reason counts.
func (q *queue) fail(err error) {
	q.mu.Lock()
	if q.err != nil {
		q.mu.Unlock()
		return
	}
	q.err = err
	q.sent.Broadcast()
	q.mu.Unlock()
	q.onDead(err)
	close(q.stop)
	// What the kernel has not sent yet must not arrive later: a write that has been done again on
	// another path meanwhile would be done once more, over a newer one.
	_ = q.socket.SetLinger(0)
	_ = q.socket.Close()
	var pdu *nvme.PDUError
	switch {
	case errors.As(err, &pdu):
		q.log.Warn("controller broke the protocol, connection ended", "err", err)
	case !errors.Is(err, errClosed):
		q.log.Info("connection lost", "err", err)
	}
}

// submit starts a part of a request, or queues it when all identifiers are in use. It returns false
// when the queue has ended; then it has not touched the part.
func (q *queue) submit(p *part) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return false
	}
	p.queue = q
	if len(q.free) == 0 {
		p.next = nil
		if q.tail == nil {
			q.head = p
		} else {
			q.tail.next = p
		}
		q.tail = p
		return true
	}
	q.startPart(p)
	q.kick()
	return true
}

// startPart gives a part an identifier and puts its capsule into the outbox; the caller holds mu.
func (q *queue) startPart(p *part) {
	cid := q.takeSlot()
	c := &q.slots[cid]
	c.part = p
	var sqe [nvme.SQESize]byte
	c.data, c.write = p.encode(sqe[:])
	q.sendCapsule(cid, sqe[:])
}

// takeSlot takes a free identifier; the caller holds mu and knows there is one.
func (q *queue) takeSlot() uint16 {
	cid := q.free[len(q.free)-1]
	q.free = q.free[:len(q.free)-1]
	q.slots[cid] = command{busy: true}
	q.inflight++
	return cid
}

// begin starts a call. Its done is called whatever happens, perhaps before begin returns.
func (q *queue) begin(c *call) {
	q.mu.Lock()
	err := q.err
	if err == nil && len(q.free) == 0 {
		err = errors.New("too many commands in flight")
	}
	if err != nil {
		q.mu.Unlock()
		c.err = err
		c.done(c)
		return
	}
	cid := q.takeSlot()
	s := &q.slots[cid]
	s.call, s.data, s.write, s.partial = c, c.data, c.write, c.partial
	q.sendCapsule(cid, c.sqe[:])
	q.kick()
	q.mu.Unlock()
}

// finish frees an identifier, starts what waits for one and tells the owner of the command. The
// caller holds mu, which finish releases while the owner is told.
func (q *queue) finish(cid uint16, entry [nvme.CQESize]byte) {
	cqe := nvme.CQE(entry[:])
	c := &q.slots[cid]
	p, k, bad := c.part, c.call, c.bad
	*c = command{}
	q.free = append(q.free, cid)
	q.inflight--
	if next := q.head; next != nil {
		q.head = next.next
		if q.head == nil {
			q.tail = nil
		}
		next.next = nil
		q.startPart(next)
	}
	q.mu.Unlock()
	if p != nil {
		var err error
		if bad {
			err = errDigest
		}
		p.answered(cqe.Status(), err)
	} else {
		k.status, k.value, k.cqe = cqe.Status(), cqe.Value(), entry
		if bad {
			k.err = errDigest
		}
		k.done(k)
	}
	q.mu.Lock()
}

// drain fails what is in flight. The reader calls it last, when nobody sends any more.
func (q *queue) drain() {
	q.mu.Lock()
	err := q.err
	var parts []*part
	var calls []*call
	for i := range q.slots {
		if c := &q.slots[i]; c.busy {
			if c.part != nil {
				parts = append(parts, c.part)
			} else {
				calls = append(calls, c.call)
			}
			*c = command{}
		}
	}
	for p := q.head; p != nil; {
		next := p.next
		p.next = nil
		parts = append(parts, p)
		p = next
	}
	q.head, q.tail, q.inflight = nil, nil, 0
	q.mu.Unlock()
	for _, c := range calls {
		c.err = err
		c.done(c)
	}
	for _, p := range parts {
		p.lost(err)
	}
	close(q.done)
}
