// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// State is the state of a path, by SPDK's names.
type State string

// The states.
const (
	StateEnabled   State = "enabled"
	StateFailed    State = "failed"
	StateResetting State = "resetting"
	StateDelayed   State = "reconnect_is_delayed"
	StateDisabled  State = "disabled"
	StateDeleting  State = "deleting"
)

// path is one connection to a remote controller. One goroutine, run, owns the association; others
// ask it through ops.
type path struct {
	host     *Host
	ctrl     *controller
	log      *slog.Logger
	recovery Recovery

	assoc    atomic.Pointer[association]
	waitable atomic.Bool // I/O may wait for the path
	cancel   context.CancelFunc
	removal  sync.Once
	ops      chan operation
	rescan   chan struct{} // look at all namespaces again; capacity 1
	access   chan struct{} // find out again which namespaces are accessible; capacity 1
	done     chan struct{} // closed when run has ended
	gone     chan struct{} // closed when the path is forgotten

	// namespaces are those known over this path; guarded by Host.mu.
	namespaces map[uint32]*ioPath

	mu sync.Mutex
	// The following are guarded by mu.
	state    State
	fastFail bool
	set      settings      // set.trid is the address in use
	others   []TransportID // addresses to fail over to
	cntlid   uint16        // of the latest connection
	vs       uint32
	ident    nvme.IdentifyController
}

// operation is a wish of somebody else.
type operation struct {
	kind  operationKind
	reply chan error // capacity 1
}

type operationKind uint8

const (
	opReset operationKind = iota + 1
	opEnable
	opDisable
	// opSwitch leaves the address in use for good.
	opSwitch
)

// mayReturn says whether I/O should wait for the path.
func (p *path) mayReturn() bool { return p.waitable.Load() }

// setState changes the state and tells the devices, whose I/O waits or fails accordingly.
func (p *path) setState(s State) {
	p.mu.Lock()
	if p.state == StateDeleting {
		s = StateDeleting
	}
	changed := p.state != s
	p.state = s
	switch s {
	case StateEnabled:
		p.waitable.Store(true)
	case StateResetting, StateDelayed:
		p.waitable.Store(p.recovery.ReconnectDelaySec != 0 && !p.fastFail)
	case StateFailed, StateDisabled, StateDeleting:
		p.waitable.Store(false)
	}
	trid := p.set.trid
	p.mu.Unlock()
	if changed {
		p.log.Debug("path changed state", "state", string(s), "traddr", trid.Traddr, "trsvcid", trid.Trsvcid)
	}
	p.wakeDevices()
}

// wakeDevices has waiting I/O look for a path again.
func (p *path) wakeDevices() {
	p.host.mu.Lock()
	devices := make([]*device, 0, len(p.ctrl.devices))
	for _, d := range p.ctrl.devices {
		devices = append(devices, d)
	}
	p.host.mu.Unlock()
	for _, d := range devices {
		d.wake()
	}
}

// ask hands an operation to run and waits for its outcome.
func (p *path) ask(ctx context.Context, kind operationKind) error {
	op := operation{kind: kind, reply: make(chan error, 1)}
	select {
	case p.ops <- op:
	case <-p.done:
		return errdefs.Wrap(errdefs.NotFound, syscall.ENXIO, "the path is being removed")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-op.reply:
		return err
	case <-p.done:
		return errdefs.Wrap(errdefs.NotFound, syscall.ENXIO, "the path is being removed")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// refresh has it found out soon which namespaces are there and accessible.
func (p *path) refresh() {
	select {
	case p.access <- struct{}{}:
	default: // it will be anyway
	}
}

// requestRescan has all namespaces looked at again soon.
func (p *path) requestRescan() {
	select {
	case p.rescan <- struct{}{}:
	default: // they will be anyway
	}
}

// run lives as long as the path: it serves the association and makes a new one when it has ended.
func (p *path) run(ctx context.Context, a *association) {
	defer close(p.done)
	for a != nil {
		op := p.serve(ctx, a)
		a.close(context.WithoutCancel(ctx))
		p.assoc.Store(nil)
		if ctx.Err() != nil {
			return
		}
		a = p.recover(ctx, op)
	}
}

// serve looks after a connected controller until it is lost, or until somebody wishes otherwise.
func (p *path) serve(ctx context.Context, a *association) *operation {
	var settled <-chan time.Time // set while a change of namespaces waits to be looked at
	for {
		var again <-chan time.Time
		if p.incomplete() {
			again = time.After(time.Second)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.dead:
			return nil
		case <-again:
			p.readAccess(ctx, a)
		case event := <-a.events:
			if event == nvme.EventNamespaceChanged && p.host.cfg.EventDelay > 0 {
				settled = time.After(p.host.cfg.EventDelay)
			} else {
				p.handle(ctx, a, event)
			}
			a.expectEvent()
		case <-settled:
			settled = nil
			p.handle(ctx, a, nvme.EventNamespaceChanged)
		case <-p.rescan:
			p.check(ctx, a, nil)
		case <-p.access:
			p.readAccess(ctx, a)
		case op := <-p.ops:
			if op.kind == opEnable {
				op.reply <- nil
				continue
			}
			return &op
		}
	}
}

// handle reacts to an event.
func (p *path) handle(ctx context.Context, a *association, event nvme.AsyncEvent) {
	switch event {
	case nvme.EventNamespaceChanged:
		list, err := a.changed(ctx)
		if err != nil {
			p.log.Warn("changed namespaces are unknown", "err", err)
			return
		}
		p.check(ctx, a, list)
	case nvme.EventANAChanged:
		p.readAccess(ctx, a)
	default:
		// Reading the log page is what lets the next event of its kind come.
		if err := a.log(ctx, event.LID(), make([]byte, 512)); err != nil {
			p.log.Debug("event of no interest", "event", uint32(event), "err", err)
		}
	}
}
