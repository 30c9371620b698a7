// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/internal/layout"
)

// Acquire is that of store.Leaser.
func (s *Store) Acquire(ctx context.Context, holder string, ttl time.Duration) (store.Lease, error) {
	if holder == "" || ttl <= 0 {
		return store.Lease{}, errdefs.New(errdefs.InvalidArgument, "lease for %q of %v: expected a name and a time", holder, ttl)
	}
	if err := s.keeping(ctx); err != nil {
		return store.Lease{}, err
	}
	token, err := s.lease(ctx, 0, "acquire", holder, ttl.Milliseconds())
	if err != nil {
		return store.Lease{}, err
	}
	return store.Lease{Holder: holder, Token: token, TTL: ttl}, nil
}

// keeping refuses a server that may throw the store away when its memory is short.
func (s *Store) keeping(ctx context.Context) error {
	return s.do(ctx, "acquire the lease", errdefs.Unavailable, func() error {
		t, err := s.learn(ctx)
		if err == nil && t.settings.evicts() {
			err = errdefs.New(errdefs.Unavailable, "nothing is kept here: %s", t.settings.judge(t.waits).Explanation)
		}
		return err
	})
}

// Renew is that of store.Leaser.
func (s *Store) Renew(ctx context.Context, held store.Lease) (contested bool, err error) {
	asked, err := s.lease(ctx, held.Token, "renew", strconv.FormatUint(held.Token, 10), held.TTL.Milliseconds())
	return asked != 0, err
}

// Release is that of store.Leaser.
func (s *Store) Release(ctx context.Context, held store.Lease) error {
	_, err := s.lease(ctx, held.Token, "release", strconv.FormatUint(held.Token, 10))
	if reason, _ := errdefs.Info(err); reason == "LEASE_LOST" {
		return nil
	}
	return err
}

// lease runs the script and returns the number in its answer.
func (s *Store) lease(ctx context.Context, token uint64, verb string, args ...any) (uint64, error) {
	answer, err := s.run(ctx, verb+" the lease", s.scripts.lease, s.keys[3:], append([]any{verb}, args...))
	if err != nil {
		return 0, err
	}
	switch {
	case answer[0] == "ok" && len(answer) == 2:
		n, err := strconv.ParseUint(answer[1], 10, 64)
		if err != nil {
			return 0, errdefs.Wrap(errdefs.Internal, err, "%s: %s the lease: the number in the answer", s.where, verb)
		}
		return n, nil
	case answer[0] == "held" && len(answer) == 3:
		remaining, _ := strconv.ParseInt(answer[2], 10, 64) // the script made it a number
		return 0, layout.Held(answer[1], remaining)
	case answer[0] == "fenced" && len(answer) == 3:
		return 0, layout.Fenced(token, answer[1], answer[2])
	}
	return 0, errdefs.New(errdefs.OutcomeUnknown, "%s: %s the lease: unexpected answer %.200q", s.where, verb, answer)
}

// WithFence is that of store.Leaser.
func (s *Store) WithFence(token uint64) store.Store {
	return fenced{s, strconv.FormatUint(token, 10)}
}

// fenced is a view whose commits need the lease.
type fenced struct {
	*Store
	token string
}

// Commit is that of store.Store, on the condition of the lease.
func (f fenced) Commit(ctx context.Context, writes []store.Write) ([]uint64, error) {
	return f.commit(ctx, f.token, writes)
}

// Close does nothing: the store belongs to whoever opened it.
func (fenced) Close() error { return nil }
