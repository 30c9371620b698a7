// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// What a zero in ClientConfig stands for.
const (
	// DefaultMinBackoff is short: a server that is back is found at once.
	DefaultMinBackoff = 10 * time.Millisecond
	// DefaultMaxBackoff is how late a server that was away for long is found at worst.
	DefaultMaxBackoff = 500 * time.Millisecond
	// DefaultDialTimeout bounds one attempt to connect.
	DefaultDialTimeout = 5 * time.Second
	// DefaultMaxAnswer is twice what SPDK ever sends.
	DefaultMaxAnswer = 64 << 20
	// DefaultMaxRequest is what SPDK up to v26.01 takes before it closes the connection.
	DefaultMaxRequest = 32 << 10
)

// ClientConfig says which server a client talks to, and how.
type ClientConfig struct {
	// Network is "unix" or "tcp", Address what net.Dial expects with it. Required.
	Network, Address string
	// Log takes changes of the connection. Required. Parameters and results are never logged.
	Log *slog.Logger
	// MinBackoff and MaxBackoff bound the pause between two attempts to connect. It grows from the
	// one to the other, except where nobody is at a unix socket.
	MinBackoff, MaxBackoff time.Duration
	// DialTimeout bounds one attempt to connect.
	DialTimeout time.Duration
	// MaxRequestBytes and MaxAnswerBytes bound one request, which is refused with InvalidArgument
	// beyond that, and one answer, which ends the connection beyond that.
	MaxRequestBytes, MaxAnswerBytes int

	// OnUp is called with every new connection, before other calls are let through. The client it
	// gets calls on that connection only. An error closes the connection; it is tried again. May be
	// nil. Its ctx ends with the connection.
	OnUp func(ctx context.Context, c *Client) error
	// OnReady is called after OnUp, as soon as calls are let through. May be nil.
	OnReady func()
	// OnDown is told why there is no connection, after each loss and after each attempt that
	// failed. May be nil. Calls of OnUp, OnReady and OnDown never overlap.
	OnDown func(err error)
	// Observe is told of every call that has ended: the ctx it was started with, how long it took and
	// how it ended. May be nil; safe for concurrent use.
	Observe func(ctx context.Context, method string, took time.Duration, err error)
}

// Client keeps one connection to a server and has any number of calls in flight on it. All methods
// are safe for concurrent use.
type Client struct {
	cfg ClientConfig

	mu   sync.Mutex
	conn *clientConn // nil while there is none; guarded by mu
	why  error       // why there is no connection; guarded by mu
}

// NewClient returns a client that has no connection until Run runs, or InvalidArgument if the
// configuration is not whole.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Network != "unix" && cfg.Network != "tcp" {
		return nil, errdefs.New(errdefs.InvalidArgument, "jsonrpc: network is %q, must be unix or tcp", cfg.Network)
	}
	if cfg.Address == "" || cfg.Log == nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "jsonrpc: client needs Address and Log")
	}
	if cfg.MinBackoff < 0 || cfg.MaxBackoff < 0 || cfg.DialTimeout < 0 ||
		cfg.MaxRequestBytes < 0 || cfg.MaxAnswerBytes < 0 {
		return nil, errdefs.New(errdefs.InvalidArgument, "jsonrpc: durations and limits must not be negative")
	}
	cfg.MinBackoff = cmp.Or(cfg.MinBackoff, DefaultMinBackoff)
	cfg.MaxBackoff = cmp.Or(cfg.MaxBackoff, DefaultMaxBackoff)
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, DefaultDialTimeout)
	cfg.MaxRequestBytes = cmp.Or(cfg.MaxRequestBytes, DefaultMaxRequest)
	cfg.MaxAnswerBytes = cmp.Or(cfg.MaxAnswerBytes, DefaultMaxAnswer)
	cfg.MaxBackoff = max(cfg.MaxBackoff, cfg.MinBackoff)
	return &Client{cfg: cfg, why: errors.New("not tried yet")}, nil
}

// errStopped is why there is no connection after Run.
var errStopped = errors.New("the client has been stopped")

// Run connects and reconnects until ctx ends, which is no error. It owns all goroutines of the
// client and returns after the last of them. Call it once.
func (c *Client) Run(ctx context.Context) error {
	pause := c.cfg.MinBackoff
	last := ""
	for {
		s := c.session(ctx)
		select {
		case <-ctx.Done():
			c.down(errStopped)
			return nil
		default:
		}
		c.down(s.ended)
		switch {
		case s.up:
			c.cfg.Log.Warn("connection lost", "address", c.address(), "err", s.ended)
		case s.ended.Error() != last:
			c.cfg.Log.Warn("no connection", "address", c.address(), "err", s.ended)
		}
		last = s.ended.Error()
		if s.up && time.Since(s.born) > c.cfg.MaxBackoff {
			pause = c.cfg.MinBackoff
		}
		// Between half of the pause and all of it, so that many clients do not come at once.
		jittered := pause/2 + rand.N(pause/2+1) //nolint:gosec // no secret
		select {
		case <-time.After(jittered):
		case <-ctx.Done():
		}
		pause = min(2*pause, c.cfg.MaxBackoff)
		if c.cfg.Network == "unix" && !s.reached {
			// To find nobody at a socket of this machine costs microseconds, and whoever waits for
			// the server's return waits for this pause.
			pause = c.cfg.MinBackoff
		}
	}
}

// session is what has become of one attempt to connect.
type session struct {
	reached bool      // somebody was at the address
	up      bool      // calls were let through
	born    time.Time // since when
	ended   error     // why they are not any more, or never were
}

// session makes one connection and keeps it to its end.
func (c *Client) session(ctx context.Context) session {
	dialer := net.Dialer{Timeout: c.cfg.DialTimeout}
	nc, err := dialer.DialContext(ctx, c.cfg.Network, c.cfg.Address)
	if err != nil {
		return session{ended: fmt.Errorf("connect: %w", err)}
	}
	conn := newClientConn(nc, c.cfg.MaxAnswerBytes)
	var work sync.WaitGroup
	work.Go(conn.read)
	work.Go(conn.write)
	defer work.Wait()
	stop := context.AfterFunc(ctx, func() { conn.end(errStopped) })
	defer stop()

	if c.cfg.OnUp != nil {
		hello, cancel := context.WithCancelCause(ctx)
		work.Go(func() { <-conn.ended; cancel(conn.cause()) })
		if err := c.cfg.OnUp(hello, &Client{cfg: c.cfg, conn: conn}); err != nil {
			err = fmt.Errorf("handshake: %w", err)
			conn.end(err)
			return session{reached: true, ended: err}
		}
	}
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	c.cfg.Log.Info("connected", "address", c.address())
	if c.cfg.OnReady != nil {
		c.cfg.OnReady()
	}
	born := time.Now()
	<-conn.ended
	return session{reached: true, up: true, born: born, ended: conn.cause()}
}

// down notes why there is no connection.
func (c *Client) down(err error) {
	c.mu.Lock()
	c.conn, c.why = nil, err
	c.mu.Unlock()
	if c.cfg.OnDown != nil {
		c.cfg.OnDown(err)
	}
}

// Call sends one request and waits for the answer, which it decodes into result unless that is nil.
// Params must encode to an array or object; nil sends none. Errors:
//
//   - *[Error]: the server refuses;
//   - Unavailable: there is no connection, or it was lost before the request was written;
//   - OutcomeUnknown: the request was written, but ctx or the connection ended before the answer;
//   - Canceled, DeadlineExceeded: ctx ended before the request was written;
//   - InvalidArgument: the request cannot be encoded or is too long;
//   - Internal: the answer does not fit into result.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	return c.Start(ctx, method, params, result).Wait(ctx)
}

// Start sends one request as Call does and returns at once. The one who starts a call must wait for
// it, once. Thousands may be started before the first is waited for.
func (c *Client) Start(ctx context.Context, method string, params, result any) *Pending {
	p := &Pending{method: method, result: result, done: make(chan struct{})}
	if c.cfg.Observe != nil {
		started := time.Now()
		p.observe = func(err error) { c.cfg.Observe(ctx, method, time.Since(started), err) }
	}
	if ctx.Err() != nil {
		p.finish(nil, gaveUp(ctx, false, method))
		return p
	}
	if err := p.encode(params); err != nil {
		p.finish(nil, err)
		return p
	}
	if size := len(p.params) + len(p.name) + requestOverhead; size > c.cfg.MaxRequestBytes {
		p.finish(nil, errdefs.New(errdefs.InvalidArgument,
			"%s: the request has %d bytes, the server takes %d: send it in parts", method, size, c.cfg.MaxRequestBytes))
		return p
	}
	c.mu.Lock()
	conn, why := c.conn, c.why
	c.mu.Unlock()
	if conn == nil {
		p.finish(nil, errdefs.Wrap(errdefs.Unavailable, why, "%s: no connection to %s", method, c.address()))
		return p
	}
	conn.enqueue(p)
	return p
}

// Disconnect ends the present connection, if there is one, as if it had been lost by that cause; Run
// makes the next one.
func (c *Client) Disconnect(cause error) {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		conn.end(cause)
	}
}

// address returns where the server is, in the form of the command line.
func (c *Client) address() string { return c.cfg.Network + "://" + c.cfg.Address }
