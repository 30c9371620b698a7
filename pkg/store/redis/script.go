// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	_ "embed" // the scripts
	"errors"

	goredis "github.com/redis/go-redis/v9"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// The scripts; each says what it takes and gives.
var (
	//go:embed commit.lua
	commitLua string
	//go:embed format.lua
	formatLua string
	//go:embed lease.lua
	leaseLua string
	//go:embed load.lua
	loadLua string
)

// scripts are the scripts with their digests.
type scripts struct{ commit, format, lease, load *goredis.Script }

func newScripts() scripts {
	return scripts{
		commit: goredis.NewScript(commitLua), format: goredis.NewScript(formatLua),
		lease: goredis.NewScript(leaseLua), load: goredis.NewScript(loadLua),
	}
}

// run runs a script by its digest, or whole where the server does not know it, as after a restart,
// and returns the texts of its answer. An answer that is lost is OutcomeUnknown.
func (s *Store) run(ctx context.Context, op string, script *goredis.Script, keys []string, args []any) ([]string, error) {
	var out []string
	err := s.do(ctx, op, errdefs.OutcomeUnknown, func() (err error) {
		out, err = script.Run(ctx, s.client, keys, args...).StringSlice()
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errdefs.Wrap(errdefs.OutcomeUnknown, errEmptyAnswer, "%s: %s", s.where, op)
	}
	return out, nil
}

// errEmptyAnswer says that a script did not answer as scripts of ours do.
var errEmptyAnswer = errors.New("the script gave an empty answer")

// errNotSynced says that a commit was done, and is perhaps not on disk.
var errNotSynced = errors.New("written, but the server did not say in time that it is on its disk")

// notSynced judges the answer of WAITAOF: how many servers have synced, this one and replicas.
func notSynced(counts []int64, err error) error {
	if err == nil && len(counts) > 0 && counts[0] >= 1 {
		return nil
	}
	// Not wrapped: a refusal of WAITAOF must not look like one of the commit.
	if err != nil {
		return errors.Join(errNotSynced, errors.New(err.Error()))
	}
	return errNotSynced
}
