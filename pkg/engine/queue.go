// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

const (
	// firstRetry and lastRetry bound the time between two tries of the same resource.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 15 * time.Second
	// passRest is how many times as long as it took a pass rests before the next one that is not
	// urgent; auditRest the same for audits, so that those cost at most a third of a percent of a core.
	passRest  = 10
	auditRest = 300
	// longestRest bounds the first of these: a pass that took long has rather waited than worked.
	longestRest = 3 * time.Second
	// probeInterval is how often the store is asked whether it is there.
	probeInterval = 2 * time.Second
)

// postpone notes why a resource is not as wanted, and when to try again.
func (e *Engine) postpone(en *entry, problem error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.cfg.Now()
	if en.problem == nil {
		en.since = now
	}
	wait := lastRetry
	if en.attempts < 6 {
		wait = firstRetry << en.attempts
	}
	at := now.Add(wait)
	// Nobody stands before a shut entrance for longer than is meant because of when the next try is.
	if opens := e.epochSince.Add(e.cfg.EntranceWait + time.Millisecond); errors.Is(problem, errWaiting) && now.Before(opens) && opens.Before(at) {
		at = opens
	}
	en.problem, en.dirty, en.retryAt = problem, true, at
	en.attempts++
	if e.soonest.IsZero() || en.retryAt.Before(e.soonest) {
		e.soonest = en.retryAt
	}
	if e.index.entries[en.rec.Name] == en {
		e.index.mark(en)
	}
	signal(e.replan)
}

// contented notes that a resource is as wanted.
func (e *Engine) contented(en *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if en.problem != nil {
		e.cfg.Log.Info("resource is as wanted again", "resource", en.rec.Name)
	}
	en.problem, en.dirty, en.drifted, en.reshaped, en.attempts, en.retryAt, en.since = nil, false, false, false, 0, time.Time{}, time.Time{}
	if e.index.entries[en.rec.Name] == en {
		e.index.mark(en)
	}
}

// Run reads the store and then keeps the data plane as the records say, until ctx ends. It returns
// after everything it started has ended. Call it once.
func (e *Engine) Run(ctx context.Context) error {
	defer e.slow.Wait()
	e.slow.Go(func() { e.probe(ctx) })
	e.slow.Go(func() { e.healing(ctx) })
	var told string
	for {
		err := e.load(ctx)
		if err == nil {
			break
		}
		if text := err.Error(); text != told { // a standby may wait for months
			told = text
			e.cfg.Log.Warn("store cannot be read, trying again", "err", err)
		}
		if !sleep(ctx, firstRetry) {
			return nil
		}
	}
	e.loop(ctx)
	return nil
}

// loop runs a pass when events, retries or the audit call for one.
func (e *Engine) loop(ctx context.Context) {
	var (
		due     = time.Now() // when the next pass is
		ended   time.Time    // when the last one was over
		took    time.Duration
		failing time.Duration // how long a failed pass waits for the next try
		timer   = time.NewTimer(0)
	)
	defer timer.Stop()
	sooner := func(at time.Time) {
		if rested := ended.Add(min(passRest*took, longestRest)); at.Before(rested) {
			at = rested
		}
		if at.Before(due) {
			due = at
		}
	}
	for {
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case ev := <-e.cfg.Driver.Events():
			switch ev.Kind {
			case driver.EventUp:
				e.cfg.Log.Info("data plane is there", "version", e.cfg.Driver.Status().Version)
				due = time.Now()
			case driver.EventDown:
				e.cfg.Log.Warn("data plane is gone", "err", e.cfg.Driver.Status().Err)
			case driver.EventChanged:
				sooner(time.Now())
			}
			continue
		case <-e.wake:
			sooner(time.Now())
			continue
		case <-e.urgent:
			due = time.Now()
			continue
		case <-e.replan:
			sooner(e.newRetry(due))
			continue
		case <-timer.C:
		}
		began := time.Now()
		if !e.cfg.Driver.Status().Up {
			due = began.Add(e.cfg.AuditInterval) // EventUp comes before
			continue
		}
		err := e.pass(ctx)
		ended = time.Now()
		took = ended.Sub(began)
		e.passed(err)
		if err != nil {
			e.cfg.Log.Warn("data plane cannot be brought up to date", "err", err)
			failing = min(max(2*failing, firstRetry), lastRetry)
			due = ended.Add(failing)
			continue
		}
		failing = 0
		due = ended.Add(max(e.cfg.AuditInterval, auditRest*took))
		sooner(e.nextRetry(due))
	}
}

// passed notes how a pass ended.
func (e *Engine) passed(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.passErr = err
}

// nextRetry returns when the first of the resources that are not as wanted is to be tried again, or
// otherwise when none is.
func (e *Engine) nextRetry(otherwise time.Time) time.Time {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for name := range e.index.dirty {
		if at := e.index.entries[name].retryAt; at.Before(otherwise) {
			otherwise = at
		}
	}
	return otherwise
}

// newRetry returns the first of the times that postpone has set since it was last asked, or otherwise when
// there are none.
func (e *Engine) newRetry(otherwise time.Time) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := e.soonest
	e.soonest = time.Time{}
	if at.IsZero() || otherwise.Before(at) {
		return otherwise
	}
	return at
}

// probe asks the store now and then whether it is there, so that status and health know before a
// mutation finds out.
func (e *Engine) probe(ctx context.Context) {
	for sleep(ctx, probeInterval) {
		_, err := e.cfg.Store.Durability(ctx)
		if ctx.Err() != nil {
			return
		}
		e.mu.Lock()
		if (e.storeErr == nil) != (err == nil) {
			e.cfg.Log.Info("store", "reachable", err == nil, "err", err)
		}
		e.storeErr = err
		e.mu.Unlock()
	}
}

// sleep waits, and says whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
