// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
)

func boltStore(t *testing.T) *bolt.Store {
	t.Helper()
	s, err := bolt.New(bolt.Config{URL: "bolt://" + filepath.Join(t.TempDir(), "state.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// running starts a tenure; end ends it and returns what Run returned.
func running(t *testing.T, s store.LeasedStore, holder string) (_ *tenure, end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	tn := newTenure(s, holder, slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- tn.Run(ctx) }()
	return tn, func() error {
		cancel()
		return <-ended
	}
}

// One of two bridges has the store; the other stands by, says whom it waits for, and takes over when
// the first ends.
func TestSecondBridgeStandsBy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := boltStore(t)
		first, endFirst := running(t, shared, "card-a")
		if _, err := first.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		second, endSecond := running(t, shared, "card-b")
		_, err := second.Load(t.Context())
		if !errors.Is(err, errdefs.Unavailable) || errdefs.ClassOf(err) != errdefs.Unavailable || !strings.Contains(err.Error(), "card-a") {
			t.Errorf("the second bridge: %v", err)
		}
		write := []store.Write{{Document: store.Document{Name: "a", Body: []byte("{}")}}}
		if _, err := second.Commit(t.Context(), write); !errors.Is(err, errdefs.Unavailable) {
			t.Errorf("the second bridge wrote: %v", err)
		}
		// Much later the first one still has it, because it renews.
		time.Sleep(10 * leaseTTL) //nolint:forbidigo // the bubble's clock
		if _, reason := first.state(); reason != nil {
			t.Errorf("the first bridge lost the lease: %v", reason)
		}
		if _, reason := second.state(); reason == nil {
			t.Error("both bridges have the lease")
		}
		if err := endFirst(); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * retryEvery) //nolint:forbidigo // the bubble's clock
		if _, err := second.Commit(t.Context(), write); err != nil {
			t.Errorf("the second bridge, alone: %v", err)
		}
		if _, err := first.Commit(t.Context(), write); !errors.Is(err, errdefs.Unavailable) {
			t.Errorf("the first bridge, after its end: %v", err)
		}
		if err := endSecond(); err != nil {
			t.Error(err)
		}
	})
}

// A bridge that was replaced ends, and cannot write any more even before it knows.
func TestReplacedBridgeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := boltStore(t)
		old, endOld := running(t, shared, "card-a")
		if _, err := old.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The same name again: as after a crash that the old process somehow survived.
		replacement, endReplacement := running(t, shared, "card-a")
		if _, err := replacement.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := old.Commit(t.Context(), []store.Write{{Document: store.Document{Name: "a", Body: []byte("{}")}}})
		if !errors.Is(err, errdefs.FailedPrecondition) {
			t.Errorf("the old bridge wrote: %v", err)
		}
		if class := errdefs.ClassOf(err); class != errdefs.Unavailable {
			t.Errorf("the old bridge says that it is %q, which another bridge can carry out: %v", class, err)
		}
		time.Sleep(leaseTTL) //nolint:forbidigo // the bubble's clock
		if err := endOld(); !errors.Is(err, errdefs.FailedPrecondition) || !strings.Contains(err.Error(), "another bridge") {
			t.Errorf("the old bridge ended with %v", err)
		}
		_, err = old.Commit(t.Context(), nil)
		if class := errdefs.ClassOf(err); class != errdefs.Unavailable {
			t.Errorf("the old bridge, which knows by now: %q: %v", class, err)
		}
		if err := endReplacement(); err != nil {
			t.Error(err)
		}
	})
}

// vanishing is a store that one process can be cut off from, as if that process were dead.
type vanishing struct {
	store.LeasedStore
	gone atomic.Bool
}

func (v *vanishing) Renew(ctx context.Context, held store.Lease) (bool, error) {
	if v.gone.Load() {
		return false, errdefs.New(errdefs.Unavailable, "the process is dead")
	}
	return v.LeasedStore.Renew(ctx, held)
}

func (v *vanishing) Release(ctx context.Context, held store.Lease) error {
	if v.gone.Load() {
		return nil
	}
	return v.LeasedStore.Release(ctx, held)
}

// A standby has the lease within 4 s of the death of the one that had it, whenever that is: 5 s are
// promised until it serves.
func TestStandbyIsSoonEnough(t *testing.T) {
	t.Parallel()
	const bound, looks = 4 * time.Second, 10 * time.Millisecond
	for alive := 10 * time.Second; alive < 10*time.Second+renewEvery; alive += 70 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			shared := boltStore(t)
			cut := &vanishing{LeasedStore: shared}
			_, endFirst := running(t, cut, "card-a")
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // the bubble's clock
			second, endSecond := running(t, shared, "card-b")
			time.Sleep(alive) //nolint:forbidigo // the bubble's clock
			cut.gone.Store(true)
			died := time.Now()
			for {
				if _, reason := second.state(); reason == nil {
					break
				}
				if time.Since(died) > bound {
					t.Fatalf("dead after %v: nobody has the lease %v later", alive, bound)
				}
				time.Sleep(looks) //nolint:forbidigo // the bubble's clock
			}
			_ = endFirst() // it has lost the lease, or not noticed yet
			if err := endSecond(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A caller that gives up while it is not known yet who has the lease is let go.
func TestWaitingForTheLeaseHonoursTheContext(t *testing.T) {
	t.Parallel()
	tn := newTenure(boltStore(t), "card-a", slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tn.Load(ctx); !errors.Is(err, errdefs.Canceled) {
		t.Errorf("%v", err)
	}
}

// What a bridge has read is believed as long as no other can have had the lease since.
func TestFrozenBridgeDoesNotBelieveItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := boltStore(t)
		frozen := newTenure(shared, "card-a", slog.New(slog.DiscardHandler)) // its Run stands still
		if _, ok := frozen.acquire(t.Context()); !ok {
			t.Fatal("the lease of nobody was not to be had")
		}
		if err := frozen.valid(t.Context()); err != nil {
			t.Errorf("with the lease: %v", err)
		}
		time.Sleep(2 * leaseTTL) //nolint:forbidigo // the bubble's clock
		if err := frozen.valid(t.Context()); err != nil {
			t.Errorf("the lease ran out, and nobody took it: %v", err)
		}
		time.Sleep(2 * leaseTTL) //nolint:forbidigo // the bubble's clock
		second := newTenure(shared, "card-b", slog.New(slog.DiscardHandler))
		if _, ok := second.acquire(t.Context()); !ok {
			t.Fatal("the lease that ran out was not to be had")
		}
		for range 2 {
			if err := frozen.valid(t.Context()); !errors.Is(err, errdefs.Unavailable) {
				t.Errorf("after another has taken the lease: %v", err)
			}
		}
	})
}

// A bridge that is cut off from the store goes on as long as it knows of no other; one that does stops
// when its lease has run out, and goes on when the store is back and nobody has taken it.
func TestCutOffBridge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := boltStore(t)
		cut := &vanishing{LeasedStore: shared}
		first, endFirst := running(t, cut, "card-a")
		both := func(what string, want bool) {
			t.Helper()
			for _, err := range []error{first.valid(t.Context()), first.confirm(t.Context())} {
				if (err == nil) != want || err != nil && errdefs.ClassOf(err) != errdefs.Unavailable {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
		time.Sleep(leaseTTL) //nolint:forbidigo // the bubble's clock
		both("alone", true)
		cut.gone.Store(true)
		time.Sleep(10 * leaseTTL) //nolint:forbidigo // the bubble's clock
		both("alone, and cut off", true)

		cut.gone.Store(false)
		time.Sleep(2 * renewEvery) //nolint:forbidigo // the bubble's clock
		if _, err := shared.Acquire(t.Context(), "card-b", leaseTTL); !errors.Is(err, errdefs.FailedPrecondition) {
			t.Fatalf("the lease was there for another: %v", err)
		}
		time.Sleep(2 * renewEvery) //nolint:forbidigo // the bubble's clock
		both("beside a standby", true)
		cut.gone.Store(true)
		time.Sleep(renewEvery) //nolint:forbidigo // the bubble's clock
		both("beside a standby, cut off a moment ago", true)
		time.Sleep(leaseTTL) //nolint:forbidigo // the bubble's clock
		both("beside a standby, cut off", false)
		cut.gone.Store(false)
		time.Sleep(2 * renewEvery) //nolint:forbidigo // the bubble's clock
		both("beside a standby, back", true)
		if err := endFirst(); err != nil {
			t.Error(err)
		}
	})
}
