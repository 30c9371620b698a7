// SPDX-License-Identifier: Apache-2.0

package qmp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// What a zero in Config stands for.
const (
	// DefaultMinBackoff and DefaultMaxBackoff find a QEMU that was restarted before its guest has booted.
	DefaultMinBackoff = 20 * time.Millisecond
	DefaultMaxBackoff = 500 * time.Millisecond
	// DefaultGreetTimeout bounds the way from connecting to the end of the negotiation.
	DefaultGreetTimeout = 5 * time.Second
	// DefaultMaxMessage is many times what QEMU says of a thousand devices.
	DefaultMaxMessage = 16 << 20
)

// Config says which QEMU a client talks to.
type Config struct {
	// Network is "unix" or "tcp", Address what net.Dial expects with it. Required.
	Network, Address string
	// Log takes changes of the connection. Required.
	Log *slog.Logger
	// MinBackoff and MaxBackoff bound the pause between two attempts to connect.
	MinBackoff, MaxBackoff time.Duration
	// GreetTimeout bounds the way from connecting to the end of the negotiation.
	GreetTimeout time.Duration
	// MaxMessageBytes bounds one message, which ends the connection beyond that.
	MaxMessageBytes int

	// OnUp is called with every new connection, before [Client.Execute] uses it. An error closes the
	// connection; it is tried again. May be nil.
	OnUp func(ctx context.Context, c *Conn) error
	// OnReady is called after OnUp, as soon as Execute uses the connection. May be nil.
	OnReady func()
	// OnDown is told why there is no connection, after each loss and each attempt that failed. May be
	// nil. Calls of OnUp, OnReady and OnDown never overlap.
	OnDown func(err error)
	// OnEvent is told of events in their order, from OnUp on. It must not block. May be nil.
	OnEvent func(Event)
}

// Client keeps one connection to QEMU. All methods are safe for concurrent use.
type Client struct {
	cfg Config

	mu   sync.Mutex
	conn *Conn // nil while there is none; guarded by mu
	why  error // why there is none; guarded by mu
}

// New returns a client that has no connection until Run runs, or InvalidArgument if the configuration
// is not whole.
func New(cfg Config) (*Client, error) {
	if cfg.Network != "unix" && cfg.Network != "tcp" {
		return nil, errdefs.New(errdefs.InvalidArgument, "qmp: network is %q, must be unix or tcp", cfg.Network)
	}
	if cfg.Address == "" || cfg.Log == nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "qmp: client needs Address and Log")
	}
	if cfg.MinBackoff < 0 || cfg.MaxBackoff < 0 || cfg.GreetTimeout < 0 || cfg.MaxMessageBytes < 0 {
		return nil, errdefs.New(errdefs.InvalidArgument, "qmp: durations and limits must not be negative")
	}
	cfg.MinBackoff = cmp.Or(cfg.MinBackoff, DefaultMinBackoff)
	cfg.MaxBackoff = max(cmp.Or(cfg.MaxBackoff, DefaultMaxBackoff), cfg.MinBackoff)
	cfg.GreetTimeout = cmp.Or(cfg.GreetTimeout, DefaultGreetTimeout)
	cfg.MaxMessageBytes = cmp.Or(cfg.MaxMessageBytes, DefaultMaxMessage)
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(Event) {}
	}
	return &Client{cfg: cfg, why: errors.New("not tried yet")}, nil
}

// errStopped is why there is no connection after Run.
var errStopped = errors.New("the client has been stopped")

// Run connects and reconnects until ctx ends, which is no error. It owns all goroutines of the client
// and returns after the last of them. Call it once.
func (c *Client) Run(ctx context.Context) error {
	pause, last := c.cfg.MinBackoff, ""
	for {
		up, err := c.session(ctx)
		select {
		case <-ctx.Done():
			c.down(errStopped)
			return nil
		default:
		}
		c.down(err)
		switch {
		case up:
			c.cfg.Log.Warn("connection to QEMU lost", "address", c.cfg.Address, "err", err)
			pause = c.cfg.MinBackoff
		case err.Error() != last:
			c.cfg.Log.Warn("no connection to QEMU", "address", c.cfg.Address, "err", err)
		}
		last = err.Error()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, c.cfg.MaxBackoff)
	}
}

// session makes one connection and keeps it to its end. It reports whether it was of use, and why it
// is not any more.
func (c *Client) session(ctx context.Context) (up bool, err error) {
	dialer := net.Dialer{Timeout: c.cfg.GreetTimeout}
	nc, err := dialer.DialContext(ctx, c.cfg.Network, c.cfg.Address)
	if err != nil {
		return false, fmt.Errorf("connect: %w", err)
	}
	conn := newConn(nc, c.cfg.MaxMessageBytes, c.cfg.OnEvent)
	stop := context.AfterFunc(ctx, func() { conn.end(errStopped) })
	defer stop()
	if err := conn.greet(c.cfg.GreetTimeout); err != nil {
		conn.end(err)
		return false, conn.cause()
	}
	var reader sync.WaitGroup
	reader.Go(conn.read)
	defer reader.Wait()
	if err := c.hello(ctx, conn); err != nil {
		conn.end(err)
		return false, conn.cause()
	}
	c.mu.Lock()
	c.conn, c.why = conn, nil
	c.mu.Unlock()
	if c.cfg.OnReady != nil {
		c.cfg.OnReady()
	}
	<-conn.ended
	return true, conn.cause()
}

// hello ends the negotiation and lets the owner make the acquaintance.
func (c *Client) hello(ctx context.Context, conn *Conn) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.GreetTimeout)
	defer cancel()
	if err := conn.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		return err
	}
	if c.cfg.OnUp == nil {
		return nil
	}
	return c.cfg.OnUp(ctx, conn)
}

// down notes why there is no connection.
func (c *Client) down(why error) {
	c.mu.Lock()
	c.conn, c.why = nil, why
	c.mu.Unlock()
	if c.cfg.OnDown != nil {
		c.cfg.OnDown(why)
	}
}

// Execute is [Conn.Execute] on the present connection; Unavailable if there is none.
func (c *Client) Execute(ctx context.Context, command string, arguments, result any) error {
	c.mu.Lock()
	conn, why := c.conn, c.why
	c.mu.Unlock()
	if conn == nil {
		return errdefs.Wrap(errdefs.Unavailable, why, "%s: no connection to QEMU at %s", command, c.cfg.Address)
	}
	return conn.Execute(ctx, command, arguments, result)
}
