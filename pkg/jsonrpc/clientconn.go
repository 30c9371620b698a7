// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

const (
	// requestOverhead is more than a request has around its method and parameters.
	requestOverhead = 80
	// writeSize is how many bytes of requests are gathered for one write: enough for some hundred
	// requests, small enough for a socket's buffer.
	writeSize = 64 << 10
)

// clientConn is one connection of a client. One goroutine writes what has been queued meanwhile,
// one reads answers and wakes those who wait for them.
type clientConn struct {
	nc        net.Conn
	maxAnswer int

	wake  chan struct{} // cap 1: queue has grown
	ended chan struct{} // closed at the end of the connection

	mu     sync.Mutex
	nextID uint64              // guarded by mu
	calls  map[uint64]*Pending // calls without an answer; guarded by mu
	queue  []*Pending          // calls to be written; guarded by mu
	err    error               // why the connection has ended; guarded by mu
}

func newClientConn(nc net.Conn, maxAnswer int) *clientConn {
	return &clientConn{
		nc: nc, maxAnswer: maxAnswer,
		wake: make(chan struct{}, 1), ended: make(chan struct{}), calls: make(map[uint64]*Pending),
	}
}

// enqueue takes a call over.
func (c *clientConn) enqueue(p *Pending) {
	c.mu.Lock()
	p.conn = c
	if err := c.err; err != nil {
		c.mu.Unlock()
		p.finish(nil, errdefs.Wrap(errdefs.Unavailable, err, "%s: not sent", p.method))
		return
	}
	c.nextID++
	p.id = c.nextID
	c.calls[p.id] = p
	c.queue = append(c.queue, p)
	c.mu.Unlock()
	signal(c.wake)
}

// abandon finishes a call whose caller does not wait any longer, unless it has just ended.
func (c *clientConn) abandon(p *Pending, ctx context.Context) { //nolint:revive // the call comes first, ctx says why it ends
	c.mu.Lock()
	_, waiting := c.calls[p.id]
	delete(c.calls, p.id)
	written := p.written
	c.mu.Unlock()
	if waiting {
		p.finish(nil, gaveUp(ctx, written, p.method))
	}
}

// write sends queued calls until the connection ends.
func (c *clientConn) write() {
	var buf []byte
	for {
		buf = c.gather(buf[:0])
		if len(buf) > 0 {
			if _, err := c.nc.Write(buf); err != nil {
				c.end(fmt.Errorf("write: %w", err))
				return
			}
			continue
		}
		select {
		case <-c.wake:
		case <-c.ended:
			return
		}
	}
}

// gather moves queued calls into buf. From here on they count as written: nobody can tell how much
// of a write that fails has arrived.
func (c *clientConn) gather(buf []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, p := range c.queue {
		if len(buf) >= writeSize {
			break
		}
		n++
		if _, waiting := c.calls[p.id]; !waiting {
			continue // given up before it was sent
		}
		p.written = true
		buf = append(buf, `{"jsonrpc":"2.0","id":`...)
		buf = strconv.AppendUint(buf, p.id, 10)
		buf = append(buf, `,"method":`...)
		buf = append(buf, p.name...)
		if p.params != nil {
			buf = append(buf, `,"params":`...)
			buf = append(buf, p.params...)
			p.params = nil // it may carry a key
		}
		buf = append(buf, '}')
	}
	left := append(c.queue[:0], c.queue[n:]...)
	clear(c.queue[len(left):])
	c.queue = left
	return buf
}

// read hands answers out until the connection ends.
func (c *clientConn) read() {
	buf := make([]byte, 0, firstBuffer)
	var scan scanner
	for {
		if len(buf) == cap(buf) {
			if len(buf) >= c.maxAnswer {
				c.end(fmt.Errorf("an answer has more than %d bytes", c.maxAnswer))
				return
			}
			grown := make([]byte, len(buf), min(2*cap(buf), c.maxAnswer))
			copy(grown, buf)
			buf = grown
		}
		n, err := c.nc.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		rest := buf
		for len(rest) > 0 {
			state := scan.scan(rest)
			if state == incomplete {
				break
			}
			if state == invalid || !c.answer(rest[:scan.pos]) {
				c.end(errors.New("what the server sends is no JSON-RPC"))
				return
			}
			rest = rest[scan.pos:]
			scan = scanner{}
		}
		buf = buf[:copy(buf, rest)]
		if len(buf) == 0 && cap(buf) > 4*firstBuffer {
			buf = make([]byte, 0, firstBuffer)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("closed by the server")
			}
			c.end(fmt.Errorf("read: %w", err))
			return
		}
	}
}

// answer gives one answer to the one who waits for it, if there is one. It reports whether it was
// an answer at all.
func (c *clientConn) answer(raw []byte) bool {
	raw = raw[skipSpace(raw, 0):]
	if raw[0] != '{' {
		return false
	}
	var id, result, failure []byte
	members(raw, func(name string, value []byte) bool {
		switch name {
		case "id":
			id = value
		case "result":
			result = value
		case "error":
			failure = value
		}
		return true
	})
	if (result == nil) == (failure == nil) {
		return false
	}
	var refusal Error
	if failure != nil {
		if err := json.Unmarshal(failure, &refusal); err != nil {
			return false
		}
	}
	number, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil {
		return true // somebody else's, or the answer to what the server could not read
	}
	c.mu.Lock()
	p := c.calls[number]
	delete(c.calls, number)
	c.mu.Unlock()
	switch {
	case p == nil: // given up
	case failure != nil:
		p.finish(nil, refused(p.method, &refusal))
	default:
		p.finish(append(json.RawMessage(nil), result...), nil)
	}
	return true
}

// end closes the connection and finishes all its calls. Only the first cause counts.
func (c *clientConn) end(cause error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = cause
	calls := c.calls
	c.calls, c.queue = nil, nil
	c.mu.Unlock()
	close(c.ended)
	_ = c.nc.Close()
	for _, p := range calls {
		// Written is not changed any more: the queue is empty.
		if p.written {
			p.finish(nil, errdefs.Wrap(errdefs.OutcomeUnknown, cause, "%s: connection lost before the answer came", p.method))
		} else {
			p.finish(nil, errdefs.Wrap(errdefs.Unavailable, cause, "%s: not sent", p.method))
		}
	}
}

// cause returns why the connection has ended.
func (c *clientConn) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
