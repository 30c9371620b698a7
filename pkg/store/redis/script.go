// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"cmp"
	"context"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// The scripts; each says what it takes and gives.
var (
	//go:embed barrier.lua
	barrierLua string
	//go:embed commit.lua
	commitLua string
	//go:embed format.lua
	formatLua string
	//go:embed lease.lua
	leaseLua string
	//go:embed load.lua
	loadLua string
	//go:embed restore.lua
	restoreLua string
	//go:embed round.lua
	roundLua string
	//go:embed whole.lua
	wholeLua string
)

// scripts are the scripts with their digests.
type scripts struct{ barrier, commit, format, lease, load, restore, round, whole *goredis.Script }

func newScripts() scripts {
	return scripts{
		barrier: goredis.NewScript(barrierLua), commit: goredis.NewScript(commitLua), format: goredis.NewScript(formatLua),
		lease: goredis.NewScript(leaseLua), load: goredis.NewScript(loadLua),
		restore: goredis.NewScript(restoreLua), round: goredis.NewScript(roundLua),
		whole: goredis.NewScript(wholeLua),
	}
}

// run runs a script that writes, waits as commits do, and returns the texts of its answer. An answer
// that is lost is OutcomeUnknown.
func (s *Store) run(ctx context.Context, op string, script *goredis.Script, keys []string, args []any) ([]string, error) {
	var out []string
	err := s.do(ctx, op, errdefs.OutcomeUnknown, func() (err error) {
		out, err = s.exec(ctx, script, keys, args...)
		return err
	})
	return out, err
}

// exec sends one script, by its digest or whole where the server does not know it, as after a restart.
func (s *Store) exec(ctx context.Context, script *goredis.Script, keys []string, args ...any) ([]string, error) {
	r := &request{args: args}
	s.sendAll(ctx, []*request{r}, script, keys)
	return r.answer, r.err
}

// sendAll sends one pipeline with the script for each request and what waits for it, a second one where
// the server does not know the script, and notes the answers.
func (s *Store) sendAll(ctx context.Context, requests []*request, script *goredis.Script, keys []string) {
	if unknown := s.pipeline(ctx, requests, script.EvalSha, keys); len(unknown) > 0 {
		s.pipeline(ctx, unknown, script.Eval, keys)
	}
}

// evaluation is Eval or EvalSha of a script.
type evaluation func(ctx context.Context, c goredis.Scripter, keys []string, args ...any) *goredis.Cmd

// pipeline runs the script for each request and notes the answers. It returns the requests for which
// the server did not know the script.
func (s *Store) pipeline(ctx context.Context, requests []*request, eval evaluation, keys []string) (unknown []*request) {
	t, err := s.current(ctx)
	if err == nil {
		err = t.refusal
	}
	if err != nil {
		for _, r := range requests {
			r.err = err
		}
		return nil
	}
	began := time.Now()
	results := make([]*goredis.Cmd, len(requests))
	var confirmations []*goredis.Cmd
	_, execErr := t.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i, r := range requests {
			results[i] = eval(ctx, p, keys, r.args...)
		}
		for _, wait := range t.waits.commands(s.limit) {
			confirmations = append(confirmations, p.Do(ctx, wait...))
		}
		return nil
	})
	s.failed(ctx, t, execErr)
	more, confirmed := t.waits.confirmed(confirmations)
	if more {
		s.terms.CompareAndSwap(t, nil) // from now on it is waited for all of them
	}
	if took := time.Since(began); confirmed == nil && t.waits.every && took > failoverTime {
		confirmed = fmt.Errorf("%w: it took %v, in which another server may have taken its place", errNotConfirmed, took.Round(time.Millisecond))
	}
	s.failed(ctx, t, confirmed) // there may be fewer replicas now, or more, or another master
	for i, r := range requests {
		if results[i].Err() == nil && results[i].Val() == nil {
			// The driver does not note on each command that it got no connection.
			r.err = cmp.Or(execErr, errEmptyAnswer)
			continue
		}
		r.answer, r.err = results[i].StringSlice()
		switch {
		case goredis.HasErrorPrefix(r.err, "NOSCRIPT"):
			unknown = append(unknown, r)
		case r.err == nil && len(r.answer) == 0:
			r.err = errEmptyAnswer
		case r.err == nil:
			r.err = confirmed
		}
	}
	return unknown
}

// errEmptyAnswer says that a script did not answer as scripts of ours do.
var errEmptyAnswer = errors.New("the script gave an empty answer")
