// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// terms are what was found out about the server that has the instance's keys, and what follows from
// it. Not changed once they can be seen by others.
type terms struct {
	client   *goredis.Client
	settings settings
	waits    waits
	refusal  error  // why nothing may be written
	dials    uint64 // how many connections had been made before they were asked for
}

// question is asked once for all who want to know. terms and err are set before done is closed.
type question struct {
	terms *terms
	err   error
	done  chan struct{}
}

// Durability is that of store.Store: it asks the server that has the instance's keys.
func (s *Store) Durability(ctx context.Context) (store.Durability, error) {
	var t *terms
	err := s.do(ctx, "ask for durability", errdefs.Unavailable, func() (err error) {
		t, err = s.learn(ctx)
		return err
	})
	if err != nil {
		return store.Durability{}, err
	}
	return t.settings.judge(t.waits), nil
}

// alone says that no other server may take the place of this one at the moment, so that commits wait
// for none. That may change at any time.
func (t *terms) alone() bool { return t.waits.every && t.waits.replicas == 0 }

// failoverTime is how long a commit may take to count as done where another server may take the place
// of the one it was sent to. One that was frozen for longer may have been replaced meanwhile, with some
// of its replicas still following it. It is below the time after which a server is given up.
const failoverTime = 500 * time.Millisecond

// current returns terms that are not older than any connection: a server that was restarted or has
// taken another's place may have other settings. A server that was alone is asked each time.
func (s *Store) current(ctx context.Context) (*terms, error) {
	valid := func(t *terms) bool { return t != nil && t.dials == s.dials.Load() && s.owns(ctx, t.client) }
	if t := s.terms.Load(); valid(t) && !t.alone() {
		return t, nil
	}
	for {
		// Asking may make a connection itself, but only as many as there is room for.
		t, err := s.learn(ctx)
		if err != nil || valid(t) {
			return t, err
		}
	}
}

// learn asks the server for its terms, or waits for the answer to a question that is under way.
func (s *Store) learn(ctx context.Context) (*terms, error) {
	s.askMu.Lock()
	q := s.asking
	if q == nil {
		q = &question{done: make(chan struct{})}
		s.asking = q
		s.group.senders.Go(func() { s.answer(q) }) //nolint:contextcheck // the answer serves many callers, so it ends with none of them
	}
	s.askMu.Unlock()
	select {
	case <-q.done:
		return q.terms, q.err
	case <-ctx.Done():
		return nil, beforeError{context.Cause(ctx)}
	}
}

// answer asks, on behalf of all who wait for q.
func (s *Store) answer(q *question) {
	ctx, cancel := context.WithTimeout(context.Background(), s.limit)
	defer cancel()
	q.terms, q.err = s.ask(ctx)
	s.askMu.Lock()
	s.asking = nil
	s.askMu.Unlock()
	close(q.done)
}

// ask asks the server. Errors are of before anything was written.
func (s *Store) ask(ctx context.Context) (*terms, error) {
	t := &terms{dials: s.dials.Load()}
	var err error
	expected := 0
	switch c := s.client.(type) {
	case *goredis.Client:
		t.client = c
	case *goredis.ClusterClient:
		t.client, err = c.MasterForKey(ctx, s.keys[0])
	default:
		t.client, expected, err = s.named(ctx)
	}
	if err == nil {
		t.settings, err = ask(ctx, t.client, s.cluster() != nil)
	}
	if err == nil {
		err = s.makeWhole(ctx, t)
	}
	if err != nil {
		s.failed(ctx, t, err)
		return nil, beforeError{err}
	}
	t.settings.addr, t.settings.failover = s.where, s.client == nil || s.cluster() != nil
	if t.settings.failover {
		t.settings.addr += ", at " + t.client.Options().Addr
	}
	t.settings.expected += expected
	t.waits, t.refusal = s.policy.of(t.settings), s.policy.refusal(t.settings)
	s.terms.Store(t)
	return t, nil
}

// named returns a client of the server that the sentinels name, and how many replicas may take its place.
func (s *Store) named(ctx context.Context) (*goredis.Client, int, error) {
	v, err := s.watch.look(ctx)
	if err != nil {
		return nil, 0, err
	}
	old := s.master.Load()
	if old != nil && old.Options().Addr == v.addr {
		return old, v.replicas, nil
	}
	options := s.direct
	options.Addr = v.addr
	s.master.Store(goredis.NewClient(&options))
	if old != nil {
		_ = old.Close()
	}
	return s.master.Load(), v.replicas, nil
}

// cluster returns the client of a cluster, nil for anything else.
func (s *Store) cluster() *goredis.ClusterClient {
	c, _ := s.client.(*goredis.ClusterClient)
	return c
}

// owns says whether the instance's keys are where a client leads, as far as is known here. What waits for
// a write must follow it on the same connection, so no command may be spread over a cluster.
func (s *Store) owns(ctx context.Context, client *goredis.Client) bool {
	c := s.cluster()
	if c == nil {
		return true
	}
	now, err := c.MasterForKey(ctx, s.keys[0])
	return err == nil && now == client
}

// failed makes the next call ask anew after a failure: the instance's keys may have another place.
func (s *Store) failed(ctx context.Context, t *terms, err error) {
	if err == nil || goredis.HasErrorPrefix(err, "NOSCRIPT") {
		return
	}
	s.terms.CompareAndSwap(t, nil)
	if c := s.cluster(); c != nil {
		c.ReloadState(ctx)
	}
}
