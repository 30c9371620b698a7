// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"strings"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// long is a time that no test lives to see the end of.
const long = time.Hour

func (b *bench) acquire(s store.Leaser, holder string, ttl time.Duration) store.Lease {
	b.Helper()
	lease, err := s.Acquire(b.Context(), holder, ttl)
	if err != nil || lease.Holder != holder || lease.TTL != ttl || lease.Token == 0 {
		b.Fatalf("acquire for %s: %+v, %v", holder, lease, err)
	}
	return lease
}

func (b *bench) lost(what string, err error) {
	b.Helper()
	if errdefs.ClassOf(err) != errdefs.FailedPrecondition {
		b.Errorf("%s: %v, want failed precondition", what, err)
	}
}

// renewal is the error of one.
func renewal(_ bool, err error) error { return err }

func testLease(b *bench) {
	s := b.store()
	first := b.acquire(s, "one", long)
	_, err := s.Acquire(b.Context(), "two", long)
	if b.lost("a lease that is held", err); err != nil && !strings.Contains(err.Error(), `"one"`) {
		b.Errorf("the error does not name the holder: %v", err)
	}
	if contested, err := s.Renew(b.Context(), first); err != nil || !contested {
		b.Errorf("renew after another has asked: contested %t, %v", contested, err)
	}

	// The same holder, restarted, goes on at once; what it was before is out.
	second := b.acquire(s, "one", long)
	if second.Token <= first.Token {
		b.Errorf("token %d after %d", second.Token, first.Token)
	}
	b.lost("renew with an old token", renewal(s.Renew(b.Context(), first)))
	if err := s.Release(b.Context(), first); err != nil {
		b.Errorf("release of a lease that is gone: %v", err)
	}
	if contested, err := s.Renew(b.Context(), second); err != nil || contested {
		b.Errorf("an old lease was released, and the new one is gone, or contested (%t): %v", contested, err)
	}
	if err := s.Release(b.Context(), second); err != nil {
		b.Errorf("release: %v", err)
	}
	b.lost("renew after release", renewal(s.Renew(b.Context(), second)))

	// A lease that ran out and that nobody took is still renewed; then another takes it.
	short := b.acquire(s, "two", time.Millisecond)
	if _, err := s.Renew(b.Context(), short); err != nil {
		b.Errorf("renew of a lease that nobody took: %v", err)
	}
	var third store.Lease
	testkit.Eventually(b, "take over a lease that ran out", func() (err error) {
		third, err = s.Acquire(b.Context(), "three", long)
		return err
	})
	if third.Token <= short.Token {
		b.Errorf("token %d after %d", third.Token, short.Token)
	}
	b.lost("renew after a takeover", renewal(s.Renew(b.Context(), short)))

	for _, row := range []struct {
		holder string
		ttl    time.Duration
	}{{"", long}, {"x", 0}, {"x", -time.Second}} {
		if _, err := s.Acquire(b.Context(), row.holder, row.ttl); errdefs.ClassOf(err) != errdefs.InvalidArgument {
			b.Errorf("acquire for %q of %v: %v", row.holder, row.ttl, err)
		}
	}

	// Tokens rise across restarts.
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	if again := b.acquire(b.store(), "three", long); again.Token <= third.Token {
		b.Errorf("token %d after %d and reopening", again.Token, third.Token)
	}
}

func testFence(b *bench) {
	s := b.store()
	first := b.acquire(s, "one", time.Millisecond)
	fenced := s.WithFence(first.Token)
	revision := b.put(fenced, write("a", 0, `1`))[0]
	var second store.Lease
	testkit.Eventually(b, "take over a lease that ran out", func() (err error) {
		second, err = s.Acquire(b.Context(), "two", long)
		return err
	})
	b.refuses(fenced, errdefs.FailedPrecondition, write("a", revision, `2`))
	b.refuses(fenced, errdefs.FailedPrecondition, write("b", 0, `2`))
	b.refuses(fenced, errdefs.FailedPrecondition)
	b.refuses(s.WithFence(0), errdefs.FailedPrecondition, write("b", 0, `2`))
	b.refuses(s.WithFence(second.Token+1), errdefs.FailedPrecondition, write("b", 0, `2`))
	b.holds(fenced, at(write("a", 0, `1`), revision))

	ours := s.WithFence(second.Token)
	revision = b.put(ours, write("a", revision, `3`))[0]
	if err := ours.Close(); err != nil {
		b.Fatal(err)
	}
	revision = b.put(s, write("a", revision, `4`))[0] // the store is open, and needs no lease
	if err := s.Release(b.Context(), second); err != nil {
		b.Fatal(err)
	}
	b.refuses(ours, errdefs.FailedPrecondition, write("a", revision, `5`))
	b.holds(s, at(write("a", 0, `4`), revision))
}
