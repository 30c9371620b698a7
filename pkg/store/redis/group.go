// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"slices"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Bounds of the groups in which commits go out.
const (
	// maxSenders is how many groups are on their way at the same time: while the server syncs one,
	// it can read another.
	maxSenders = 4
	// maxGroup bounds the commits in a group, so that the first answers do not wait for ever more.
	maxGroup = 128
)

// request is one commit on its way. answer and err are set before done is closed.
type request struct {
	args   []any
	answer []string
	err    error
	done   chan struct{}
}

// group gathers commits. A commit that finds a free sender goes out at once and alone; those that
// come while all senders wait for answers go out together after that.
type group struct {
	senders sync.WaitGroup

	// mu guards the fields below.
	mu      sync.Mutex
	queue   []*request
	sending int
}

// send runs the commit script and returns the texts of its answer. A caller who gives up while the
// script is on its way gets OutcomeUnknown.
func (s *Store) send(ctx context.Context, args []any) ([]string, error) {
	var answer []string
	err := s.do(ctx, "commit", errdefs.OutcomeUnknown, func() error {
		r := &request{args: args, done: make(chan struct{})}
		s.enqueue(r) //nolint:contextcheck // a group serves many callers, so it ends with none of them
		select {
		case <-r.done:
			answer = r.answer
			return r.err
		case <-ctx.Done():
		}
		if s.group.withdraw(r) {
			return errdefs.Wrap(classOfEnd(ctx), context.Cause(ctx), "nothing was done")
		}
		return context.Cause(ctx)
	})
	return answer, err
}

// enqueue adds a request, and starts a sender if there may be one more.
func (s *Store) enqueue(r *request) {
	g := &s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue = append(g.queue, r)
	if g.sending == maxSenders {
		return
	}
	g.sending++
	first := g.take()
	g.senders.Go(func() { s.sendGroups(first) })
}

// take removes the next group from the queue. Hold mu.
func (g *group) take() []*request {
	n := min(len(g.queue), maxGroup)
	next := slices.Clone(g.queue[:n])
	g.queue = slices.Delete(g.queue, 0, n)
	return next
}

// withdraw takes a request out of the queue. It returns false when it is on its way already.
func (g *group) withdraw(r *request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.queue, r)
	if i < 0 {
		return false
	}
	g.queue = slices.Delete(g.queue, i, i+1)
	return true
}

// sendGroups sends one group after another until nothing is queued.
func (s *Store) sendGroups(next []*request) {
	for len(next) > 0 {
		// No caller's context holds here, for the requests are those of many; each step is bounded by the
		// timeouts of the connection.
		s.sendAll(context.Background(), next, s.scripts.commit, s.keys)
		for _, r := range next {
			close(r.done)
		}
		s.group.mu.Lock()
		if next = s.group.take(); len(next) == 0 {
			s.group.sending--
		}
		s.group.mu.Unlock()
	}
}
