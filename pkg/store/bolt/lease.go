// SPDX-License-Identifier: Apache-2.0

package bolt

import (
	"context"
	"strconv"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/internal/layout"
)

// lease is what the file says. Entries that are missing or no numbers count as 0: a lease nobody has.
type lease struct {
	holder string
	token  uint64
}

func readLease(tx *bbolt.Tx) lease {
	b := tx.Bucket([]byte(layout.Lease))
	l := lease{holder: string(b.Get([]byte(layout.Holder)))}
	l.token, _ = strconv.ParseUint(string(b.Get([]byte(layout.Token))), 10, 64)
	return l
}

func writeLease(tx *bbolt.Tx, l lease) error {
	b := tx.Bucket([]byte(layout.Lease))
	if err := put(b, layout.Holder, l.holder); err != nil {
		return err
	}
	return put(b, layout.Token, strconv.FormatUint(l.token, 10))
}

// changeLease runs change in a transaction of its own. An error of change changes nothing and is
// returned as it is. Hold leaseMu.
func (s *Store) changeLease(ctx context.Context, change func(*lease) error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	var refused error
	var id int
	err := s.db.Update(func(tx *bbolt.Tx) error {
		id = tx.ID()
		l := readLease(tx)
		if refused = change(&l); refused != nil {
			return refused
		}
		return writeLease(tx, l)
	})
	if err != nil && refused == nil {
		return s.writeError(id, err)
	}
	return refused
}

// Acquire is that of store.Leaser. The file keeps who has the lease; until when is in memory only, for
// no other process can have the file before this one has let go of it.
func (s *Store) Acquire(ctx context.Context, holder string, ttl time.Duration) (store.Lease, error) {
	if holder == "" || ttl <= 0 {
		return store.Lease{}, errdefs.New(errdefs.InvalidArgument, "lease for %q of %v: expected a name and a time", holder, ttl)
	}
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	out := store.Lease{Holder: holder, TTL: ttl}
	now := time.Now()
	err := s.changeLease(ctx, func(l *lease) error {
		if l.holder != "" && l.holder != holder && s.leaseUntil.After(now) {
			s.askedUntil = now.Add(10 * ttl)
			return layout.Held(l.holder, s.leaseUntil.Sub(now).Milliseconds())
		}
		*l = lease{holder: holder, token: l.token + 1}
		out.Token = l.token
		return nil
	})
	if err != nil {
		return store.Lease{}, err
	}
	s.leaseUntil, s.askedUntil = now.Add(ttl), time.Time{}
	return out, nil
}

// Renew is that of store.Leaser. It writes nothing, so a bridge that is idle leaves the disk alone.
func (s *Store) Renew(ctx context.Context, held store.Lease) (contested bool, err error) {
	if err := ended(ctx); err != nil {
		return false, err
	}
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	var l lease
	if err := s.db.View(func(tx *bbolt.Tx) error { l = readLease(tx); return nil }); err != nil {
		return false, s.readError(err)
	}
	if l.holder == "" || l.token != held.Token {
		return false, layout.Fenced(held.Token, strconv.FormatUint(l.token, 10), l.holder)
	}
	now := time.Now()
	s.leaseUntil = now.Add(held.TTL)
	return s.askedUntil.After(now), nil
}

// Release is that of store.Leaser.
func (s *Store) Release(ctx context.Context, held store.Lease) error {
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	return s.changeLease(ctx, func(l *lease) error {
		if l.token == held.Token {
			l.holder = ""
		}
		return nil
	})
}

// WithFence is that of store.Leaser.
func (s *Store) WithFence(token uint64) store.Store { return fenced{s, token} }

// fenced is a view whose commits need the lease.
type fenced struct {
	*Store
	token uint64
}

// Commit is that of store.Store, on the condition of the lease.
func (f fenced) Commit(ctx context.Context, writes []store.Write) ([]uint64, error) {
	if f.token == 0 {
		return nil, layout.Fenced(0, "0", "")
	}
	return f.commit(ctx, f.token, writes)
}

// Close does nothing: the store belongs to whoever opened it.
func (fenced) Close() error { return nil }
