// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
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
			p.handle(ctx, a, event)
			a.expectEvent()
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

// recover makes a new association after a loss or at somebody's wish. It returns nil when the path
// is to end.
func (p *path) recover(ctx context.Context, op *operation) *association {
	began := time.Now()
	var waiting chan error // who is to hear how the first attempt went
	if op != nil {
		if op.kind == opDisable {
			p.setState(StateDisabled)
			op.reply <- nil
			if op = p.disabled(ctx); op == nil {
				return nil
			}
		}
		waiting = op.reply
	}
	p.failOver(op)
	if op != nil && op.kind == opSwitch {
		op.reply <- nil
		waiting = nil
	}
	p.mu.Lock()
	p.fastFail = false
	p.mu.Unlock()
	if fast := time.Duration(p.recovery.FastIOFailSec) * time.Second; fast > 0 {
		timer := time.AfterFunc(fast, p.failFast)
		defer timer.Stop()
	}
	for {
		p.setState(StateResetting)
		a, err := p.reconnect(ctx)
		if waiting != nil {
			waiting <- err
			waiting = nil
		}
		switch {
		case err == nil:
			return a
		case ctx.Err() != nil:
			return nil
		}
		p.log.Debug("reconnect failed", "err", err)
		if loss := p.recovery.LossTimeoutSec; loss > 0 && time.Since(began) >= time.Duration(loss)*time.Second {
			p.log.Warn("controller given up", "ctrlr_loss_timeout_sec", loss)
			p.remove()
			<-ctx.Done()
			return nil
		}
		p.failOver(nil)
		op, again := p.pause(ctx, began)
		if !again {
			return nil
		}
		if op != nil { // it was disabled meanwhile, and now enabled
			waiting, began = op.reply, time.Now()
		}
	}
}

// pause waits between two attempts. It returns false when the path is to end, and the operation that
// enabled the path again if it was disabled meanwhile.
func (p *path) pause(ctx context.Context, began time.Time) (*operation, bool) {
	wait := p.host.cfg.RetryPause
	state := StateFailed
	if delay := p.recovery.ReconnectDelaySec; delay != 0 {
		wait, state = time.Duration(delay)*time.Second, StateDelayed
		if loss := p.recovery.LossTimeoutSec; loss > 0 {
			wait = min(wait, max(time.Until(began.Add(time.Duration(loss)*time.Second)), 0))
		}
	}
	p.setState(state)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return nil, true
		case <-ctx.Done():
			return nil, false
		case op := <-p.ops:
			switch op.kind {
			case opReset:
				op.reply <- errdefs.Wrap(errdefs.FailedPrecondition, syscall.EPERM, "the controller is not connected")
			case opDisable:
				p.setState(StateDisabled)
				op.reply <- nil
				enable := p.disabled(ctx)
				return enable, enable != nil
			case opSwitch:
				p.failOver(&op)
				op.reply <- nil
			case opEnable:
				op.reply <- nil
			}
		}
	}
}

// disabled waits until somebody enables the path. It returns nil when the path is to end.
func (p *path) disabled(ctx context.Context) *operation {
	for {
		select {
		case <-ctx.Done():
			return nil
		case op := <-p.ops:
			if op.kind == opEnable {
				return &op
			}
			op.reply <- nil
		}
	}
}

// failOver changes to the next address, if there are several and the path was not lost on purpose.
func (p *path) failOver(op *operation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.others) == 0 {
		return
	}
	old, next := p.set.trid, p.others[0]
	switch {
	case op != nil && op.kind == opSwitch:
		p.others = p.others[1:]
	case op == nil:
		p.others = append(p.others[1:], old)
	default:
		return
	}
	p.set.trid = next
}

// failFast ends the waiting of I/O for a path that does not come back.
func (p *path) failFast() {
	p.mu.Lock()
	p.fastFail = true
	if p.state != StateEnabled {
		p.waitable.Store(false)
	}
	p.mu.Unlock()
	p.wakeDevices()
}

// reconnect makes one attempt.
func (p *path) reconnect(ctx context.Context) (*association, error) {
	p.mu.Lock()
	set := p.set
	p.mu.Unlock()
	a, err := connect(ctx, set)
	if err != nil {
		return nil, unreachable(err, "connect to %s port %s", set.trid.Traddr, set.trid.Trsvcid)
	}
	p.readAccess(ctx, a)
	p.publish(a)
	return a, nil
}

// publish makes a connected controller the one that I/O uses.
func (p *path) publish(a *association) {
	p.mu.Lock()
	p.cntlid, p.vs, p.ident, p.fastFail = a.cntlid, a.vs, a.ident, false
	p.mu.Unlock()
	p.assoc.Store(a)
	p.host.mu.Lock()
	failback := !p.host.options.DisableAutoFailback
	for nsid := range p.namespaces {
		if d := p.ctrl.devices[nsid]; d != nil {
			d.restrict(a.limits)
			if failback {
				d.forget(nil)
			}
		}
	}
	p.host.mu.Unlock()
	p.setState(StateEnabled)
}

// remove begins to take the path away; gone is closed when that is done.
func (p *path) remove() {
	p.removal.Do(func() { p.host.tasks.Go(p.takeAway) })
}

// takeAway ends run, takes the path from its devices, unregisters those that have no other, and
// forgets the path.
func (p *path) takeAway() {
	defer close(p.gone)
	p.setState(StateDeleting)
	p.cancel()
	<-p.done
	h := p.host
	var orphans []*device
	h.mu.Lock()
	for nsid := range p.namespaces {
		if d := p.lose(nsid); d != nil {
			orphans = append(orphans, d)
		}
	}
	h.mu.Unlock()
	p.wakeDevices()
	var all sync.WaitGroup
	for _, d := range orphans {
		all.Go(func() { h.unregister(context.Background(), d) })
	}
	all.Wait()
	h.mu.Lock()
	h.drop(p)
	h.mu.Unlock()
}

// unregister removes a bdev whose device has no path any more.
func (h *Host) unregister(ctx context.Context, d *device) {
	d.wake()
	err := h.cfg.Registry.Unregister(ctx, d.name, moduleNVMe)
	if err != nil && !errors.Is(err, errdefs.NotFound) {
		h.log.Warn("bdev not unregistered", "bdev", d.name, "err", err)
	}
}
