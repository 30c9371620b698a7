// SPDX-License-Identifier: Apache-2.0

package target

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/tlspsk"
)

const (
	// firstRead and largestRead bound the receive buffer; it grows when reads fill it.
	firstRead   = 16 << 10
	largestRead = 256 << 10
	// maxControlData is what admin and fabrics commands may bring in their capsule (tcp 3.3.2.1).
	maxControlData = 8192
	// connectWithin is how long a peer may take until it has connected a queue.
	connectWithin = 30 * time.Second
	// lastWords is how long a terminate request may take to go out.
	lastWords = time.Second
)

// stream is a connection, and can be closed in one direction.
type stream interface {
	net.Conn
	CloseWrite() error
}

// queue is one connection: an admin queue or an I/O queue.
//
// The life of a command: run reads a piece of the stream; parse takes PDUs out of it; a command that
// needs nothing (a read from memory, most admin commands) is answered at once, into output; one that
// needs data, a device or an event becomes a request, which comes back through push and collect. When
// the piece is used up, and before anything that may block, flush writes all answers. What devices
// finish while the peer is silent is answered by the second goroutine, answerLate.
type queue struct {
	target *Target
	portal *portal
	socket *net.TCPConn
	conn   stream       // the socket, or TLS over it
	tls    *tlspsk.Conn // nil without TLS
	peer   netip.AddrPort
	opts   TransportOptions
	reason atomic.Pointer[string]

	// finished is a stack of requests that are done; wake has a token when it is not empty.
	finished atomic.Pointer[request]
	wake     chan struct{}
	ended    chan struct{} // closed when no command is left

	// mu guards all below. run holds it except while it waits.
	mu   sync.Mutex
	buf  []byte // what was read lies between r and w
	r, w int

	initialized        bool // ICReq has been answered
	incoming, outgoing nvme.Framing
	controller         *controller // nil before Connect
	qid                uint16
	sqsize, sqhd       uint16 // sqsize counts from 0
	omitsSuccess       bool   // answers to reads carry the completion in the data PDU

	awaited  uint64     // bytes that have been asked for and have not come
	requests []*request // by ttag
	free     []*request
	flying   int      // requests that devices have
	first    *request // half of a fused pair that waits for the other

	attachments []*attachment // by nsid-1
	out         output
	completed   uint64

	probe  probe
	probed bool      // since the last read
	began  time.Time // when the last read ended: the beginning of the commands in it
}

// serve starts a queue on a new connection.
func (t *Target) serve(conn *net.TCPConn, p *portal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || p.references == 0 {
		_ = conn.Close()
		return
	}
	if len(t.unassociated) >= t.maxUnknown {
		t.log.Warn("connection refused", "address", p.at.String(), "peer", conn.RemoteAddr().String(), "reason", "too many have not connected a queue")
		_ = conn.Close()
		return
	}
	q := &queue{
		target: t, portal: p, socket: conn, conn: conn, opts: *t.transport,
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		buf: make([]byte, max(firstRead, nextPage(int(t.transport.InCapsuleDataSizeBytes)+3*nvme.PDUHeaderMax))),
	}
	t.unassociated[q] = struct{}{}
	q.probe.init(conn)
	q.out.arena, q.out.segment = make([]byte, 0, headerArena), -1
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		q.peer = a.AddrPort()
	}
	t.counters.currentUnknown.Add(1)
	t.connections.Go(q.run)
}

func nextPage(n int) int { return (n + 4095) &^ 4095 }

// errFailed ends run after fail; the reason is kept beside it.
var errFailed = errors.New("the queue has been failed")

// fail ends the queue: it begins no further command, and once devices have finished those begun, its
// connection is closed. The first reason is logged. It takes no lock and does not block.
//
// The order matters: a host that sees its connection closed sends its commands again over another
// one, and may write the same blocks anew. A command of the old connection must not come after that.
func (q *queue) fail(reason string) {
	q.reason.CompareAndSwap(nil, &reason)
	_ = q.socket.SetDeadline(time.Unix(1, 0)) // wakes whoever waits for the peer
}

// failed says whether fail has been called.
func (q *queue) failed() bool { return q.reason.Load() != nil }

// run is the queue's goroutine.
func (q *queue) run() {
	stop := make(chan struct{})
	var late sync.WaitGroup
	late.Go(func() { q.answerLate(stop) })

	q.mu.Lock()
	err := q.secure()
	q.wait(time.Now().Add(connectWithin))
	for err == nil {
		if err = q.parse(); err == nil {
			err = q.fill()
		}
	}
	q.explain(err)
	q.mu.Unlock()

	close(stop)
	late.Wait()
	q.finishUp()
}

// wait sets how long the peer may be silent; zero is for ever. It does not undo fail.
func (q *queue) wait(until time.Time) {
	_ = q.socket.SetReadDeadline(until)
	if q.failed() {
		q.fail("")
	}
}

// fill reads more, after everything that is due has been written.
func (q *queue) fill() error {
	if q.r == q.w {
		q.r, q.w = 0, 0
	} else if q.r > 0 {
		q.w = copy(q.buf, q.buf[q.r:q.w])
		q.r = 0
	}
	room := q.buf[q.w:]
	if q.awaited >= 2*firstRead && len(room) > firstRead {
		room = room[:firstRead] // what comes is data mostly, which goes to its own buffer without a detour
	}
	n, err := q.receive(room)
	if n == len(q.buf)-q.w && len(q.buf) < largestRead && q.qid != 0 {
		grown := make([]byte, 2*len(q.buf))
		copy(grown, q.buf)
		q.buf = grown
	}
	q.w += n
	return err
}

// receive reads what is there into b.
func (q *queue) receive(b []byte) (int, error) {
	q.collect()
	q.flush()
	q.mu.Unlock()
	n, err := q.conn.Read(b)
	q.mu.Lock()
	q.probed, q.began = false, time.Now()
	return n, err
}

// answerLate answers what devices finish while run waits for the peer.
func (q *queue) answerLate(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-q.wake:
		}
		q.mu.Lock()
		q.collect()
		q.flush()
		q.mu.Unlock()
	}
}

// explain tells the peer about a fault of its own and the log about the end. q.mu is held.
func (q *queue) explain(err error) {
	var pe *nvme.PDUError
	if errors.As(err, &pe) && !q.failed() {
		header := q.buf[q.r:min(q.w, q.r+nvme.PDUHeaderMax)]
		if n := nvme.CHSize; len(header) > n && int(nvme.CH(header).HLEN()) >= n {
			header = header[:min(len(header), int(nvme.CH(header).HLEN()))]
		}
		q.collect()
		q.flush()
		term := nvme.TermReq{FES: pe.FES, FEI: pe.FEI, Header: header}
		_ = q.conn.SetWriteDeadline(time.Now().Add(lastWords))
		_, _ = q.conn.Write(term.Encode(false))
		_ = q.conn.CloseWrite()
		// Closing with bytes unread would reset the connection and lose what was just said.
		_ = q.conn.SetReadDeadline(time.Now().Add(lastWords))
		_, _ = io.Copy(io.Discard, q.conn)
	}
	if errors.Is(err, io.EOF) {
		q.fail(closedByHost)
	} else {
		q.fail(err.Error())
	}
	level := slog.LevelDebug
	if pe != nil || isTLS(err) {
		level = slog.LevelWarn
	}
	attrs := []any{"peer", q.peer.String(), "qid", q.qid, "reason", *q.reason.Load()}
	if q.controller != nil {
		attrs = append(attrs, "cntlid", q.controller.cntlid, "subsystem", q.controller.subsystem.cfg.NQN)
	}
	q.target.log.Log(context.Background(), level, "queue disconnected", attrs...)
}

// finishUp waits for devices, lets go of namespaces and leaves the controller. It runs alone.
func (q *queue) finishUp() {
	q.mu.Lock()
	q.collect()
	for q.flying > 0 {
		q.mu.Unlock()
		<-q.wake
		q.mu.Lock()
		q.collect()
	}
	q.flush()
	for _, a := range q.attachments {
		if a != nil {
			a.detach()
		}
	}
	for _, r := range q.requests {
		q.target.buffers.put(r.buf)
		r.buf = nil
	}
	c := q.controller
	q.mu.Unlock()
	close(q.ended)
	n := &q.target.counters
	switch {
	case c == nil:
		_ = q.conn.Close()
		n.currentUnknown.Add(-1)
		q.target.mu.Lock()
		delete(q.target.unassociated, q)
		q.target.mu.Unlock()
		return
	case q.qid == 0:
		n.currentAdmin.Add(-1)
	default:
		n.currentIO.Add(-1)
	}
	c.leave(q)
}
