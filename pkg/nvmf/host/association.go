// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/tlspsk"
)

// Limits of what is asked for, and of what is believed of a controller.
const (
	adminDepth   = 32
	ioDepth      = 128
	fabricsData  = 8192 // a capsule of an admin or fabrics command takes that much data (tcp 3.4.1)
	transferMax  = 1 << 20
	namespaceMax = 8192
	shutdownWait = 500 * time.Millisecond
)

// settings are what an association needs to know to come to be.
type settings struct {
	log                 *slog.Logger
	trid                TransportID
	hostaddr, hostsvcid string
	hostnqn             string
	hostid              uuid.UUID
	hdgst, ddgst        bool
	psk                 *tlspsk.PSK // nil without TLS
	noFlowControl       bool
	queues              int
	keepAlive           time.Duration
	dialTimeout         time.Duration
	ackTimeout          time.Duration
	connectTimeout      time.Duration // of ICResp and Connect
	commandTimeout      time.Duration // of other admin commands
}

// association is a connected controller: an admin queue and I/O queues. When one of them ends, all do.
type association struct {
	set settings
	// admin and io belong to the goroutine that connects until the association is handed out, and
	// are constant afterwards.
	admin *queue
	io    []*queue

	cntlid uint16
	cap    nvme.CAP
	vs     uint32
	ident  nvme.IdentifyController
	limits limits

	events chan nvme.AsyncEvent // capacity 1: one request is outstanding at a time
	dead   chan struct{}        // closed when the association has ended; cause is set before
	over   atomic.Bool          // the same, for the I/O path
	once   sync.Once
	cause  error
	turn   atomic.Uint32
	stop   context.CancelFunc // ends the keep alive
	tasks  sync.WaitGroup

	mu sync.Mutex
	// all are the queues to end with the association; guarded by mu.
	all []*queue
}

// limits bound the commands of a controller.
type limits struct {
	transferBytes uint32 // of one command with data
	zeroBytes     uint64 // of one Write Zeroes
	unmapBlocks   uint32 // of one range
}

// connect brings a controller up as far as its I/O queues. ctx ends the attempt, not the association.
func connect(ctx context.Context, set settings) (*association, error) {
	a := &association{set: set, events: make(chan nvme.AsyncEvent, 1), dead: make(chan struct{})}
	keep, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = cancel
	if err := a.setUp(ctx); err != nil {
		a.close(context.WithoutCancel(ctx))
		return nil, err
	}
	if a.set.keepAlive > 0 {
		a.tasks.Go(func() { a.keepAlive(keep) })
	}
	return a, nil
}

// pick chooses the queue for a request: the same for a few in a row, so that they share a packet.
func (a *association) pick() *queue {
	if len(a.io) == 1 {
		return a.io[0]
	}
	const inARow = 16
	return a.io[int(a.turn.Add(1)/inARow)%len(a.io)]
}

// fail ends all queues.
func (a *association) fail(err error) {
	a.once.Do(func() {
		a.cause = err
		a.over.Store(true)
		close(a.dead)
		a.stop()
		// The other queues are ended by a task, because this may be one of their goroutines.
		a.tasks.Go(func() {
			for _, q := range a.queues() {
				q.fail(errClosed)
			}
		})
	})
}

// keepAlive tells the controller that this end lives, and finds out whether the other does.
func (a *association) keepAlive(ctx context.Context) {
	for sleep(ctx, a.set.keepAlive/2) == nil {
		_, err := a.admin.do(ctx, a.set.keepAlive, nil, false, func(e nvme.SQE) { e.SetOPC(nvme.AdminKeepAlive) })
		if errors.Is(err, errTimeout) {
			a.fail(errKeepAlive)
		}
		if err != nil {
			return
		}
	}
}

// expectEvent gives the controller a command to answer when something has changed.
func (a *association) expectEvent() {
	c := &call{done: func(c *call) {
		if c.err == nil && c.status.OK() {
			a.events <- nvme.AsyncEvent(c.value) //nolint:gosec // dword 0 is the event
		}
	}}
	nvme.SQE(c.sqe[:]).SetOPC(nvme.AdminAsyncEventReq)
	a.admin.begin(c)
}

// close ends the association, telling the controller if it can hear, and waits for its goroutines.
func (a *association) close(ctx context.Context) {
	if a.admin != nil && !a.over.Load() {
		cc := nvme.MakeCC().WithSHN(nvme.SHNNormal)
		// A controller that does not answer will find out by itself.
		_, _ = a.admin.do(ctx, shutdownWait, nil, false, func(e nvme.SQE) { e.SetPropertySet(nvme.PropertyCC, uint64(cc)) })
	}
	a.fail(errClosed)
	a.tasks.Wait()
	for _, q := range a.queues() {
		q.fail(errClosed)
		<-q.done
	}
}

// queues returns the queues that have been started.
func (a *association) queues() []*queue {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all)
}

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
