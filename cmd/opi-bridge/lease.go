// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// How long a bridge that has vanished keeps others out, and how the lease is looked after. A standby
// has taken over after at most leaseTTL and retryEvery, and the time to read the store.
const (
	leaseTTL    = 3 * time.Second
	renewEvery  = leaseTTL / 3
	askEvery    = time.Minute            // how durable the store is
	retryEvery  = 400 * time.Millisecond // to take the lease over, and to reach a store that is away
	storeAnswer = 2 * time.Second
)

// tenure is a store that answers only while this process holds the lease of its instance, so that
// one bridge at a time acts on a data plane. Before that every call is Unavailable: the engine waits
// as it does for a store that is away, which makes this process a standby. Commits are fenced, so a
// bridge that was replaced without noticing can write no more.
type tenure struct {
	inner  store.LeasedStore
	holder string
	log    *slog.Logger

	decided chan struct{} // closed when the first attempt to get the lease has ended
	once    sync.Once

	mu      sync.RWMutex
	current store.Store // guarded by mu: the fenced store, nil while the lease is not held
	reason  error       // guarded by mu: why it is not held
	lease   store.Lease // guarded by mu: the lease, while it is held
	until   time.Time   // guarded by mu: how long it lasts without being renewed, by this process's clock
	missed  time.Time   // guarded by mu: when the store last did not answer to a renewal
	// guarded by mu: another process waits for the lease, as of the last renewal
	contested bool
	// guarded by mu: what the store says about its durability, zero before it was asked
	durability store.Durability
}

func newTenure(inner store.LeasedStore, holder string, log *slog.Logger) *tenure {
	return &tenure{
		inner: inner, holder: holder, log: log, decided: make(chan struct{}),
		reason: errdefs.New(errdefs.Unavailable, "the lease has not been asked for yet"),
	}
}

// Run gets the lease, however long that takes, and keeps it until ctx ends; then it gives it up. It
// returns an error when another bridge has taken the lease over: this process must end then, because
// its picture of the data plane is no longer the valid one.
func (t *tenure) Run(ctx context.Context) error {
	lease, ok := t.acquire(ctx)
	if !ok {
		return nil
	}
	tick, ask := time.NewTicker(renewEvery), time.NewTicker(askEvery)
	defer tick.Stop()
	defer ask.Stop()
	t.askDurability(ctx)
	away := false
	for {
		select {
		case <-ctx.Done():
			return t.release(ctx, lease)
		case <-ask.C:
			t.askDurability(ctx)
			continue
		case <-tick.C:
		}
		err := t.renew(ctx, lease)
		switch {
		case errors.Is(err, errdefs.FailedPrecondition):
			return errdefs.Wrap(errdefs.FailedPrecondition, err, "another bridge acts on this data plane now")
		case err != nil:
			// The store is away, for this bridge at least: what that means, confirm knows.
			t.log.LogAttrs(ctx, slog.LevelDebug, "lease not renewed", slog.Any("err", err))
		case away:
			t.askDurability(ctx) // what is back may be another server, or have other settings
		}
		away = err != nil
	}
}

// renew makes the lease last, or notes that it is gone.
func (t *tenure) renew(ctx context.Context, lease store.Lease) error {
	asked := time.Now()
	var contested bool
	err := t.bounded(ctx, func(ctx context.Context) (err error) {
		contested, err = t.inner.Renew(ctx, lease)
		return err
	})
	switch {
	case err == nil:
		t.mu.Lock()
		t.until, t.contested = asked.Add(lease.TTL), contested
		t.mu.Unlock()
	case errors.Is(err, errdefs.FailedPrecondition):
		t.set(nil, replaced(err))
	default:
		t.mu.Lock()
		t.missed = time.Now()
		t.mu.Unlock()
	}
	return err
}

// valid returns an error when another process may have had the lease since this one got it: what this
// one has read is old then. A process that was frozen asks the store. While the store is away and is
// asked in vain all the time, it is not asked again for each call.
func (t *tenure) valid(ctx context.Context) error {
	t.mu.RLock()
	missed := t.missed
	t.mu.RUnlock()
	if now := time.Now(); now.Sub(missed) < leaseTTL+storeAnswer && now.Round(0).Sub(missed.Round(0)) < leaseTTL+storeAnswer {
		t.mu.RLock()
		defer t.mu.RUnlock()
		if t.reason == nil && t.contested && !t.lasts(now) {
			return errMayBeReplaced
		}
		return t.reason
	}
	return t.confirm(ctx)
}

// errMayBeReplaced is why a bridge that has lost sight of the store does nothing.
var errMayBeReplaced = errdefs.New(errdefs.Unavailable,
	"this bridge cannot reach the store, and another one waits for its lease and may have it by now: nothing was done")

// lasts says whether the lease has not run out by this process's own clocks. One clock stands still while
// the machine sleeps, the other may be set: both must agree. Hold mu.
func (t *tenure) lasts(now time.Time) bool {
	return now.Before(t.until) && now.Round(0).Before(t.until.Round(0))
}

// confirm returns an error unless this process has the lease now. While it must last by this
// process's own clocks, that costs nothing; a process that was frozen asks the store. A store that is
// away does not stop it when it is the only one: hosts need their disks back all the same. But where
// another waits for the lease, only this one may be cut off, and the other act already.
func (t *tenure) confirm(ctx context.Context) error {
	t.mu.RLock()
	lease, reason, lasts := t.lease, t.reason, t.lasts(time.Now())
	t.mu.RUnlock()
	if reason == nil {
		if lasts {
			return nil
		}
		reason = t.renew(ctx, lease)
		t.mu.RLock()
		contested := t.contested
		t.mu.RUnlock()
		switch {
		case reason == nil || !errors.Is(reason, errdefs.FailedPrecondition) && !contested:
			return nil
		case !errors.Is(reason, errdefs.FailedPrecondition):
			return errMayBeReplaced
		}
	}
	return errdefs.Wrap(errdefs.Unavailable, reason, "this bridge does not have the lease, nothing was done")
}

// acquire tries until it has the lease, or ctx ends.
func (t *tenure) acquire(ctx context.Context) (lease store.Lease, ok bool) {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		asked := time.Now()
		err := t.bounded(ctx, func(ctx context.Context) (err error) {
			lease, err = t.inner.Acquire(ctx, t.holder, leaseTTL)
			return err
		})
		if err == nil {
			t.mu.Lock()
			t.lease, t.until = lease, asked.Add(leaseTTL)
			t.mu.Unlock()
			t.log.LogAttrs(ctx, slog.LevelInfo, "lease acquired", slog.String("holder", t.holder), slog.Uint64("token", lease.Token))
			t.set(t.inner.WithFence(lease.Token), nil)
			return lease, true
		}
		if t.waiting(err) {
			t.log.LogAttrs(ctx, slog.LevelInfo, "waiting for the lease", slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
			return store.Lease{}, false
		case <-tick.C:
		}
	}
}

// askDurability asks the store how durable it is, and tells the log when the answer is a new one.
func (t *tenure) askDurability(ctx context.Context) {
	var d store.Durability
	err := t.bounded(ctx, func(ctx context.Context) (err error) {
		d, err = t.inner.Durability(ctx)
		return err
	})
	if err != nil {
		t.log.LogAttrs(ctx, slog.LevelDebug, "store not asked how durable it is", slog.Any("err", err))
		return
	}
	t.mu.Lock()
	news := t.durability != d
	t.durability = d
	t.mu.Unlock()
	switch {
	case news && d.OK:
		t.log.LogAttrs(ctx, slog.LevelInfo, "store keeps acknowledged writes", slog.String("explanation", d.Explanation))
	case news:
		t.log.LogAttrs(ctx, slog.LevelWarn, "store may lose acknowledged writes", slog.String("level", string(d.Level)), slog.String("explanation", d.Explanation))
	}
}

// state returns what is known of the store's durability, and why the lease is not held, nil if it is.
func (t *tenure) state() (durability store.Durability, reason error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.durability, t.reason
}

// waiting notes why the lease is not held and says whether that is news.
func (t *tenure) waiting(err error) bool {
	if errors.Is(err, errdefs.FailedPrecondition) {
		err = errdefs.Wrap(errdefs.Unavailable, err, "this bridge stands by")
	}
	t.mu.RLock()
	news := t.reason == nil || t.reason.Error() != err.Error()
	t.mu.RUnlock()
	t.set(nil, err)
	return news
}

func (t *tenure) set(current store.Store, reason error) {
	t.mu.Lock()
	t.current, t.reason = current, reason
	t.mu.Unlock()
	t.once.Do(func() { close(t.decided) })
}

func (t *tenure) release(ctx context.Context, lease store.Lease) error {
	t.set(nil, errdefs.New(errdefs.Unavailable, "this bridge is ending"))
	err := t.bounded(context.WithoutCancel(ctx), func(ctx context.Context) error { return t.inner.Release(ctx, lease) })
	if err != nil {
		t.log.LogAttrs(ctx, slog.LevelInfo, "lease not released, it runs out by itself", slog.Any("err", err))
	}
	return nil
}

// bounded calls f with a bound on its time.
func (*tenure) bounded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, storeAnswer)
	defer cancel()
	return f(ctx)
}

// use returns the store to use, once the first attempt to get the lease has ended.
func (t *tenure) use(ctx context.Context) (store.Store, error) {
	select {
	case <-t.decided:
	case <-ctx.Done():
		return nil, errdefs.Wrap(errdefs.ClassOf(ctx.Err()), ctx.Err(), "waiting for the lease")
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current, t.reason
}

// Load implements store.Store.
func (t *tenure) Load(ctx context.Context) ([]store.Document, error) {
	s, err := t.use(ctx)
	if err != nil {
		return nil, err
	}
	return s.Load(ctx)
}

// Commit implements store.Store. That the lease is gone is Unavailable: whoever has it now can carry out
// the request.
func (t *tenure) Commit(ctx context.Context, writes []store.Write) ([]uint64, error) {
	s, err := t.use(ctx)
	if err != nil {
		return nil, err
	}
	revisions, err := s.Commit(ctx, writes)
	if reason, _ := errdefs.Info(err); reason == "LEASE_LOST" {
		err = replaced(err)
	}
	return revisions, err
}

// replaced is what a request is told when the lease is gone.
func replaced(err error) error {
	return errdefs.Wrap(errdefs.Unavailable, err, "this bridge was replaced")
}

// Durability implements store.Store. It needs no lease, so it tells whether the store is there.
func (t *tenure) Durability(ctx context.Context) (store.Durability, error) {
	return t.inner.Durability(ctx)
}

// Close implements store.Store.
func (t *tenure) Close() error { return t.inner.Close() }
