// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// firstBuffer is what a connection reads into before a longer request makes it grow.
	firstBuffer = 16 << 10
	// pollPeriod is how often SPDK looks at its sockets: answers that are ready within one period
	// after a half-close are still sent, later ones are dropped.
	pollPeriod = 4 * time.Millisecond
	// lastWrite bounds how long a client that does not read may hold up the end of its connection.
	lastWrite = time.Second
	// maxQueuedFactor times the largest answer may wait for a client that does not read; beyond that
	// nothing more is read from it.
	maxQueuedFactor = 2
)

// serverConn is one connection of a server. Its reader runs the handlers, its writer sends what has
// been queued meanwhile in one piece.
type serverConn struct {
	server *Server
	nc     net.Conn

	wake chan struct{} // cap 1: the writer has something to look at
	idle chan struct{} // cap 1: outstanding has become zero

	mu          sync.Mutex
	room        sync.Cond // on mu: queued has shrunk, or the end has come
	queued      []byte    // answers to send; guarded by mu
	held        []byte    // answers from the running turn; guarded by mu
	holding     bool      // a turn runs; guarded by mu
	outstanding int       // calls without an answer; guarded by mu
	deaf        bool      // answers are dropped from now on; guarded by mu
	ending      bool      // the writer is to stop when queued is empty; guarded by mu
}

func newServerConn(s *Server, nc net.Conn) *serverConn {
	c := &serverConn{server: s, nc: nc, wake: make(chan struct{}, 1), idle: make(chan struct{}, 1)}
	c.room.L = &c.mu
	return c
}

// serve reads, carries out and answers until the connection or ctx ends.
func (c *serverConn) serve(ctx context.Context) {
	log := c.server.cfg.Log
	log.Debug("connection opened", "peer", c.nc.RemoteAddr().String())
	stop := context.AfterFunc(ctx, c.abort)
	var writer sync.WaitGroup
	writer.Go(c.write)

	err := c.read(ctx)
	if errors.Is(err, io.EOF) {
		c.linger(ctx)
	}
	c.finish()
	writer.Wait()
	stop()
	_ = c.nc.Close()
	if err != nil && !errors.Is(err, io.EOF) && ctx.Err() == nil {
		log.Warn("connection closed", "peer", c.nc.RemoteAddr().String(), "err", err)
		return
	}
	log.Debug("connection closed", "peer", c.nc.RemoteAddr().String())
}

// Why a connection is closed by the server.
var (
	errBadJSON     = errors.New("what came is not JSON")
	errTooLong     = errors.New("request is too long")
	errTooMany     = errors.New("request has too many values")
	errWriteFailed = errors.New("answer could not be sent")
)

// read takes requests from the wire and runs them, a turn for each read.
func (c *serverConn) read(ctx context.Context) error {
	limit := c.server.cfg.MaxRequestBytes
	buf := make([]byte, 0, min(firstBuffer, limit))
	var scan scanner
	for {
		if len(buf) == cap(buf) {
			if len(buf) >= limit {
				return errTooLong
			}
			grown := make([]byte, len(buf), min(2*cap(buf), limit))
			copy(grown, buf)
			buf = grown
		}
		n, err := c.nc.Read(buf[len(buf):cap(buf)])
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				return io.EOF
			}
			return fmt.Errorf("read: %w", err)
		}
		buf = buf[:len(buf)+n]
		rest, err := c.takeTurn(ctx, buf, &scan)
		if err != nil {
			return err
		}
		buf = buf[:copy(buf, rest)]
		if !c.waitForRoom() {
			return errWriteFailed
		}
	}
}

// takeTurn runs all requests that are whole in buf and returns what is left. On an error none of
// the answers of the turn are sent: SPDK loses them too, and clients have to live with it.
func (c *serverConn) takeTurn(ctx context.Context, buf []byte, scan *scanner) (rest []byte, err error) {
	if state := scan.scan(buf); state == incomplete && scan.values <= c.server.cfg.MaxValues {
		return buf, nil
	}
	c.server.turn.Lock()
	defer c.server.turn.Unlock()
	c.hold()
	defer func() {
		c.release(err == nil)
		if after := c.server.cfg.AfterTurn; after != nil {
			after()
		}
	}()
	for {
		state := scan.scan(buf)
		switch {
		case state == invalid:
			return nil, errBadJSON
		case scan.values > c.server.cfg.MaxValues:
			return nil, errTooMany
		case state == incomplete:
			return buf, nil
		}
		// The handler owns its parameters, the buffer is used again: copy.
		raw := append([]byte(nil), buf[:scan.pos]...)
		raw = raw[skipSpace(raw, 0):]
		buf = buf[scan.pos:]
		*scan = scanner{}
		c.begin()
		c.server.run(ctx, raw, c)
	}
}

// linger keeps a connection that the client has half-closed until its calls are done.
func (c *serverConn) linger(ctx context.Context) {
	poll := time.NewTimer(pollPeriod)
	defer poll.Stop()
	for {
		c.mu.Lock()
		done := c.outstanding == 0
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-c.idle:
		case <-poll.C:
			c.mu.Lock()
			c.deaf = true
			c.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// write sends what is queued until finish or abort.
func (c *serverConn) write() {
	var spare []byte
	for {
		c.mu.Lock()
		out, ending := c.queued, c.ending
		c.queued = spare[:0]
		c.room.Broadcast()
		c.mu.Unlock()
		if len(out) > 0 {
			if _, err := c.nc.Write(out); err != nil {
				c.abort()
				return
			}
		} else if ending {
			return
		} else {
			<-c.wake
		}
		spare = reuse(out)
	}
}

// begin counts a call in.
func (c *serverConn) begin() {
	c.mu.Lock()
	c.outstanding++
	c.mu.Unlock()
}

// deliver implements sink.
func (c *serverConn) deliver(answer []byte) {
	c.mu.Lock()
	if len(answer) > 0 && !c.deaf {
		to := &c.queued
		if c.holding {
			to = &c.held
		}
		*to = append(append(*to, answer...), '\n')
	}
	c.outstanding--
	idle, holding := c.outstanding == 0, c.holding
	c.mu.Unlock()
	if idle {
		signal(c.idle)
	}
	if !holding {
		signal(c.wake)
	}
}

// hold keeps answers back until release.
func (c *serverConn) hold() {
	c.mu.Lock()
	c.holding = true
	c.mu.Unlock()
}

// release sends or drops the answers that came since hold.
func (c *serverConn) release(send bool) {
	c.mu.Lock()
	switch {
	case !send:
		c.deaf = true
	case len(c.queued) == 0:
		c.queued, c.held = c.held, c.queued
	default:
		c.queued = append(c.queued, c.held...)
	}
	c.held = reuse(c.held)
	c.holding = false
	c.mu.Unlock()
	signal(c.wake)
}

// waitForRoom waits while too much is queued for a client that does not read. It reports whether
// the connection is still good.
func (c *serverConn) waitForRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queued) > maxQueuedFactor*c.server.cfg.MaxAnswerBytes && !c.ending {
		c.room.Wait()
	}
	return !c.ending
}

// finish lets the writer send what is queued and stop.
func (c *serverConn) finish() {
	_ = c.nc.SetWriteDeadline(time.Now().Add(lastWrite))
	c.mu.Lock()
	c.ending, c.deaf = true, true
	c.room.Broadcast()
	c.mu.Unlock()
	signal(c.wake)
}

// abort ends the connection without sending anything more.
func (c *serverConn) abort() {
	_ = c.nc.Close()
	c.mu.Lock()
	c.ending, c.deaf, c.queued = true, true, nil
	c.room.Broadcast()
	c.mu.Unlock()
	signal(c.wake)
}

// reuse empties a buffer for its next use, or gives an unusually large one back.
func reuse(b []byte) []byte {
	if cap(b) > 4*firstBuffer {
		return nil
	}
	return b[:0]
}

// signal fills a channel of capacity one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
