// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"strconv"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/internal/layout"
)

// Commit is that of store.Store.
func (s *Store) Commit(ctx context.Context, writes []store.Write) ([]uint64, error) {
	return s.commit(ctx, "", writes)
}

// commit runs the script, again only where it has done nothing: because the format must be written, or
// a round has begun.
func (s *Store) commit(ctx context.Context, fence string, writes []store.Write) ([]uint64, error) {
	if err := layout.Check(writes); err != nil {
		return nil, err
	}
	prepared := false
	for range maxRounds {
		answer, err := s.send(ctx, commitArgs(s.format, fence, s.rounds.now(), writes))
		switch {
		case errdefs.ClassOf(err) == errdefs.OutcomeUnknown:
			s.rounds.doubt()
			return nil, err
		case err != nil:
			return nil, err
		case answer[0] == "stale" && len(answer) == 2:
			s.rounds.is(answer[1])
		case answer[0] == "format" && !prepared:
			if err := s.prepare(ctx); err != nil {
				return nil, err
			}
			prepared = true
		default:
			return s.committed(answer, fence, len(writes))
		}
	}
	return nil, errdefs.New(errdefs.Unavailable, "%s: others keep loading the store, nothing was done", s.where)
}

func commitArgs(format, fence, round string, writes []store.Write) []any {
	args := make([]any, 0, 3+5*len(writes))
	args = append(args, format, fence, round)
	for _, w := range writes {
		kind := "plain"
		switch {
		case w.Delete:
			kind, w.Body, w.Sealed = "delete", nil, nil
		case w.Sealed != nil:
			kind = "sealed"
		}
		args = append(args, w.Name, strconv.FormatUint(w.Base, 10), kind, w.Body, w.Sealed)
	}
	return args
}

// committed reads the answer of the script.
func (s *Store) committed(answer []string, fence string, n int) ([]uint64, error) {
	number := func(i int) uint64 {
		v, _ := strconv.ParseUint(answer[i], 10, 64) // the script made it a number
		return v
	}
	switch {
	case answer[0] == "ok" && len(answer) == 2:
		first := number(1)
		revisions := make([]uint64, n)
		for i := range revisions {
			revisions[i] = first + uint64(i)
		}
		return revisions, nil
	case answer[0] == "conflict" && len(answer) == 4:
		return nil, layout.Conflict(answer[1], number(2), number(3))
	case answer[0] == "fenced" && len(answer) == 3:
		token, _ := strconv.ParseUint(fence, 10, 64)
		return nil, layout.Fenced(token, answer[1], answer[2])
	case answer[0] == "unreadable" && len(answer) == 2:
		return nil, errdefs.New(errdefs.Internal, "%s: the value of document %q is not {\"revision\":…,\"body\":…}: mend it by hand", s.where, answer[1])
	case answer[0] == "format" && len(answer) == 2:
		return nil, errdefs.New(errdefs.Unavailable, "%s: the format changed to %q at the same time", s.where, answer[1])
	}
	s.rounds.doubt()
	return nil, errdefs.New(errdefs.OutcomeUnknown, "%s: commit: unexpected answer %.200q", s.where, answer)
}
