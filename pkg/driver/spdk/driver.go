// SPDX-License-Identifier: Apache-2.0

// Package spdk drives an SPDK target, or anything that answers as one, through its JSON-RPC.
//
// One connection is kept and everything is pipelined on it. SPDK's refusals rarely say what is
// wrong, so after a refusal the driver looks at what is there and decides from that.
package spdk

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// Config says which SPDK to drive.
type Config struct {
	// Network is "unix" or "tcp", Address the socket's path or host:port. Required.
	Network, Address string
	// Log takes changes of state. Required. Parameters of calls are never logged.
	Log *slog.Logger
	// MinBackoff and MaxBackoff bound the pause between attempts to connect; 0 is 10 ms and 50 ms.
	MinBackoff, MaxBackoff time.Duration
	// AnswerTimeout is how long SPDK may leave the simplest call unanswered before the connection is
	// given up; 0 is 10 s. Only what SPDK answers at once is measured by it.
	AnswerTimeout time.Duration
	// ResetTimeout is how long the reset of a controller may take; 0 is 30 s. It may still happen after that.
	ResetTimeout time.Duration
	// KeyDir is the directory for the files through which the data plane gets pre-shared keys; it is made
	// if it is missing. The data plane must see it under the same path and run as the same user. ""
	// means that there are no such keys.
	KeyDir string
	// VfioUserDir is the directory in which each PCIe endpoint has a directory for its vfio-user socket.
	// The data plane must see it under the same path. "" means that there are no PCIe endpoints.
	VfioUserDir string
	// ObserveCall is told of every call to SPDK that has ended, with the ctx of what it was made for. May
	// be nil; safe for concurrent use.
	ObserveCall func(ctx context.Context, method string, took time.Duration, err error)
}

// defaultAnswerTimeout is a thousand times what SPDK needs for a call that it answers in its next poll.
const defaultAnswerTimeout = 10 * time.Second

// An SPDK that was restarted has lost every disk, so it is found at once: an attempt to connect costs
// some 50 µs, and every moment without one is a moment in which hosts wait.
const (
	defaultMinBackoff = 10 * time.Millisecond
	defaultMaxBackoff = 50 * time.Millisecond
)

// Driver drives one SPDK. It implements [driver.Driver], [driver.Statter], [driver.Resetter],
// [driver.HostCounter] and [driver.Capable].
type Driver struct {
	log        *slog.Logger
	patience   time.Duration
	resetTime  time.Duration
	client     *spdkrpc.Client
	events     *mailbox
	attaches   *keyedLock  // one at a time per connection and, where needed, controller
	removed    *removals   // namespaces whose ids must rest before they are used again
	leftover   *group      // attaches whose callers have given up
	identities *identities // of the namespaces that came with remote controllers
	used       *used       // bdevs that are used for a moment
	uses       *keyedLock  // what would be refused, or do harm, while something else is done to the same thing

	listing *listing // looks through all bdevs that are shared

	where       string // the data plane's socket
	vfioUserDir string // absolute, "" for none
	keys        keyFiles
	pathKeys    pathKeys

	mu      sync.Mutex
	status  driver.Status // guarded by mu
	session session       // guarded by mu
}

var (
	_ driver.Driver      = (*Driver)(nil)
	_ driver.Statter     = (*Driver)(nil)
	_ driver.Resetter    = (*Driver)(nil)
	_ driver.HostCounter = (*Driver)(nil)
	_ driver.Capable     = (*Driver)(nil)
)

// New returns a driver that does nothing until Run runs, or InvalidArgument if the configuration is
// not whole.
func New(cfg Config) (*Driver, error) {
	if cfg.Log == nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "spdk driver: Log is missing")
	}
	if cfg.AnswerTimeout < 0 || cfg.ResetTimeout < 0 {
		return nil, errdefs.New(errdefs.InvalidArgument, "spdk driver: AnswerTimeout is %v and ResetTimeout %v, must not be negative",
			cfg.AnswerTimeout, cfg.ResetTimeout)
	}
	cfg.AnswerTimeout = cmp.Or(cfg.AnswerTimeout, defaultAnswerTimeout)
	cfg.MinBackoff = cmp.Or(cfg.MinBackoff, defaultMinBackoff)
	cfg.MaxBackoff = cmp.Or(cfg.MaxBackoff, max(cfg.MinBackoff, defaultMaxBackoff))
	d := &Driver{
		log: cfg.Log, patience: cfg.AnswerTimeout, resetTime: cmp.Or(cfg.ResetTimeout, defaultResetTimeout), events: newMailbox(), attaches: newKeyedLock(), removed: newRemovals(), leftover: newGroup(),
		used: newUsed(), uses: newKeyedLock(), identities: newIdentities(), listing: newListing(), where: cfg.Network + "://" + cfg.Address,
	}
	if err := d.directories(cfg); err != nil {
		return nil, fmt.Errorf("spdk driver: %w", err)
	}
	d.status.Err = errdefs.New(errdefs.Unavailable, "no connection to %s://%s has been tried yet", cfg.Network, cfg.Address)
	client, err := spdkrpc.NewClient(spdkrpc.ClientConfig{
		Network: cfg.Network, Address: cfg.Address, Log: cfg.Log,
		MinBackoff: cfg.MinBackoff, MaxBackoff: cfg.MaxBackoff,
		OnUp: d.hello, OnReady: d.up, OnDown: d.down, Observe: cfg.ObserveCall,
	})
	if err != nil {
		return nil, fmt.Errorf("spdk driver: %w", err)
	}
	d.client = client
	return d, nil
}

// Run implements [driver.Driver].
func (d *Driver) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var work sync.WaitGroup
	work.Go(func() { d.events.pump(ctx) })
	work.Go(func() { d.watch(ctx) })
	err := d.client.Run(ctx)
	cancel()
	work.Wait()
	d.leftover.close()
	if err != nil {
		return fmt.Errorf("spdk driver: %w", err)
	}
	return nil
}

// Events implements [driver.Driver].
func (d *Driver) Events() <-chan driver.Event { return d.events.out }

// Status implements [driver.Driver].
func (d *Driver) Status() driver.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}
