// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
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
	noFlowControl       bool
	queues              int
	keepAlive           time.Duration
	dialTimeout         time.Duration
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

func (a *association) setUp(ctx context.Context) error {
	var err error
	if a.admin, err = a.open(ctx, 0, adminDepth); err != nil {
		return fmt.Errorf("admin queue: %w", err)
	}
	if err := a.enable(ctx); err != nil {
		return err
	}
	if err := a.identify(ctx); err != nil {
		return err
	}
	if a.ident.OAES&(nvme.OAESNamespace|nvme.OAESANAChange) != 0 {
		want := a.ident.OAES & (nvme.OAESNamespace | nvme.OAESANAChange)
		if _, err := a.do(ctx, nil, func(e nvme.SQE) { e.SetFeature(nvme.FeatureAsyncEvents, want) }); err != nil {
			return fmt.Errorf("ask for events: %w", err)
		}
	}
	a.expectEvent()
	return a.openIO(ctx)
}

// open connects one queue.
func (a *association) open(ctx context.Context, qid uint16, depth int) (*queue, error) {
	conn, err := a.set.trid.dial(ctx, a.set.hostaddr, a.set.hostsvcid, a.set.dialTimeout)
	if err != nil {
		return nil, err
	}
	log := a.set.log.With("qid", qid)
	q, err := newQueue(log, conn, a.fail)
	if err == nil {
		err = q.handshake(ctx, a.set.hdgst, a.set.ddgst, a.set.connectTimeout)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	q.inCapsule = fabricsData
	a.mu.Lock()
	a.all = append(a.all, q)
	a.mu.Unlock()
	q.start(depth - 1) // a queue of n entries is full with n-1
	data := make([]byte, nvme.ConnectDataSize)
	connect := nvme.ConnectData{HOSTID: a.set.hostid, CNTLID: nvme.CNTLIDDynamic, SUBNQN: a.set.trid.Subnqn, HOSTNQN: a.set.hostnqn}
	var kato uint32
	var attributes uint8
	if a.set.noFlowControl {
		attributes = nvme.CATTRNoSQFlowControl
	}
	if qid == 0 {
		kato = uint32(min(a.set.keepAlive.Milliseconds(), 1<<31)) //nolint:gosec // bounded and not negative
	} else {
		connect.CNTLID = a.cntlid
	}
	connect.Encode(data)
	value, err := q.do(ctx, a.set.connectTimeout, data, true, func(e nvme.SQE) {
		e.SetConnect(qid, uint16(depth-1), attributes, kato) //nolint:gosec // a small constant
	})
	if err != nil {
		return nil, fmt.Errorf("fabrics connect: %w", err)
	}
	if a.over.Load() { // it ended before this queue was in the list
		q.fail(errClosed)
	}
	if qid == 0 {
		a.cntlid = uint16(value) //nolint:gosec // the low half is the field
	}
	return q, nil
}

// do carries out an admin command that reads data, if there is any.
func (a *association) do(ctx context.Context, data []byte, build func(nvme.SQE)) (uint64, error) {
	return a.admin.do(ctx, a.set.commandTimeout, data, false, build)
}

// enable switches the controller on and waits until it is ready.
func (a *association) enable(ctx context.Context) error {
	value, err := a.do(ctx, nil, func(e nvme.SQE) { e.SetPropertyGet(nvme.PropertyCAP) })
	if err != nil {
		return fmt.Errorf("read CAP: %w", err)
	}
	a.cap = nvme.CAP(value)
	if value, err = a.do(ctx, nil, func(e nvme.SQE) { e.SetPropertyGet(nvme.PropertyVS) }); err != nil {
		return fmt.Errorf("read VS: %w", err)
	}
	a.vs = uint32(value) //nolint:gosec // the property has 32 bits
	set := func(e nvme.SQE) { e.SetPropertySet(nvme.PropertyCC, uint64(nvme.MakeCC())) }
	if _, err = a.do(ctx, nil, set); err != nil {
		return fmt.Errorf("enable the controller: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, max(time.Duration(a.cap.TO())*500*time.Millisecond, a.set.commandTimeout))
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		if value, err = a.do(ctx, nil, func(e nvme.SQE) { e.SetPropertyGet(nvme.PropertyCSTS) }); err != nil {
			return fmt.Errorf("read CSTS: %w", err)
		}
		switch csts := uint32(value); { //nolint:gosec // the property has 32 bits
		case csts&nvme.CSTSCFS != 0:
			return errors.New("the controller reports a fatal status")
		case csts&nvme.CSTSRDY != 0:
			return nil
		}
		if err := sleep(ctx, wait); err != nil {
			return fmt.Errorf("wait for the controller to become ready: %w", err)
		}
	}
}

// identify reads what the controller is and can do.
func (a *association) identify(ctx context.Context) error {
	data := make([]byte, nvme.IdentifySize)
	if err := a.identifyData(ctx, data, nvme.CNSController, 0, 0); err != nil {
		return fmt.Errorf("identify controller: %w", err)
	}
	var err error
	if a.ident, err = nvme.DecodeIdentifyController(data); err != nil {
		return fmt.Errorf("identify controller: %w", err)
	}
	a.limits = limits{transferBytes: transferMax, zeroBytes: 1 << 62, unmapBlocks: 1<<32 - 1}
	if a.ident.MDTS > 0 && a.ident.MDTS < 8 {
		a.limits.transferBytes = 4096 << a.ident.MDTS
	}
	// The limits of the NVM command set are optional; a controller without them refuses the command.
	if err := a.identifyData(ctx, data, nvme.CNSControllerCSI, 0, nvme.CSINVM); err != nil {
		if _, ok := errors.AsType[nvme.Status](err); ok {
			return nil
		}
		return fmt.Errorf("identify controller, command set: %w", err)
	}
	nvm, err := nvme.DecodeIdentifyControllerNVM(data)
	if err != nil {
		return fmt.Errorf("identify controller, command set: %w", err)
	}
	if nvm.WZSL > 0 && nvm.WZSL < 48 {
		a.limits.zeroBytes = 4096 << nvm.WZSL
	}
	if nvm.DMRSL > 0 {
		a.limits.unmapBlocks = nvm.DMRSL
	}
	return nil
}

// identifyData carries out Identify.
func (a *association) identifyData(ctx context.Context, data []byte, cns uint8, nsid uint32, csi uint8) error {
	clear(data)
	_, err := a.do(ctx, data, func(e nvme.SQE) {
		e.SetOPC(nvme.AdminIdentify)
		e.SetNSID(nsid)
		e.SetCDW(10, uint32(cns))
		e.SetCDW(11, uint32(csi)<<24)
	})
	return err
}

// openIO settles the number of I/O queues and connects them.
func (a *association) openIO(ctx context.Context) error {
	want := uint16(min(max(a.set.queues, 1), 65535))
	value, err := a.do(ctx, nil, func(e nvme.SQE) {
		e.SetFeature(nvme.FeatureNumberOfQueues, nvme.NumberOfQueues(want, want))
	})
	if err != nil {
		return fmt.Errorf("ask for %d I/O queues: %w", want, err)
	}
	sq, cq := nvme.SplitNumberOfQueues(uint32(value)) //nolint:gosec // dword 0
	count := min(uint32(want), sq, cq)
	depth := min(ioDepth, int(a.cap.MQES())+1)
	if depth < 2 {
		return fmt.Errorf("the controller has queues of %d entries, at least 2 are needed", depth)
	}
	inCapsule := uint64(a.ident.IOCCSZ)*16 - nvme.SQESize
	if a.ident.IOCCSZ < 4 || a.ident.ICDOFF != 0 {
		inCapsule = 0
	}
	for qid := range count {
		q, err := a.open(ctx, uint16(qid+1), depth)
		if err != nil {
			return fmt.Errorf("I/O queue %d: %w", qid+1, err)
		}
		q.mu.Lock()
		q.inCapsule = uint32(min(inCapsule, transferMax))
		q.mu.Unlock()
		a.io = append(a.io, q)
	}
	return nil
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
