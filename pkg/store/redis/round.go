// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"cmp"
	"context"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// maxRounds bounds how often one commit is sent because rounds begin meanwhile.
const maxRounds = 16

// rounds keep a commit whose answer nobody waits for any more from being carried out late. It may
// still lie in a socket, or wait here for its turn, while the store is loaded to find out what became
// of it; what Load did not see must not come afterwards. So every commit names the round it was sent
// in, the server refuses those of earlier rounds, and a load after a doubt begins a new one. Commits
// that are still waited for are refused with them, and are sent again: nothing has been done then.
type rounds struct {
	mu sync.Mutex
	// guarded by mu:
	current string // as the server counts; empty before the first
	doubts  uint64 // commits whose outcome is unknown
	settled uint64 // how many of them a round has followed
}

// now returns the round to send a commit in.
func (r *rounds) now() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// is notes what the server says.
func (r *rounds) is(current string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = current
}

// doubt notes that the outcome of a commit is unknown.
func (r *rounds) doubt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doubts++
}

// open returns how many doubts there have been, and whether some are not settled.
func (r *rounds) open() (doubts uint64, unsettled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.doubts, r.doubts > r.settled
}

// settle notes that the first so many doubts are no more.
func (r *rounds) settle(doubts uint64, current string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled = max(r.settled, doubts)
	r.current = current
}

// endDoubts sees to it that no commit whose outcome is unknown is carried out from now on.
func (s *Store) endDoubts(ctx context.Context) error {
	doubts, unsettled := s.rounds.open()
	if !unsettled {
		return nil
	}
	answer, err := s.run(ctx, "begin a round", s.scripts.round, s.keys[:1], nil)
	switch {
	case errdefs.ClassOf(err) == errdefs.OutcomeUnknown:
		class := cmp.Or(classOfEnd(ctx), errdefs.Unavailable)
		return errdefs.Wrap(class, err, "it is not known yet what became of the last commits")
	case err != nil:
		return err
	case answer[0] != "ok" || len(answer) != 2:
		return errdefs.New(errdefs.Unavailable, "%s: begin a round: unexpected answer %.200q", s.where, answer)
	}
	s.rounds.settle(doubts, answer[1])
	return nil
}
