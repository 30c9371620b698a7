// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

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
