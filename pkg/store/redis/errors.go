// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"net"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// do runs a call and gives its error a class: lost is that of an answer which did not come.
func (s *Store) do(ctx context.Context, op string, lost errdefs.Class, call func() error) error {
	if class := classOfEnd(ctx); class != "" {
		return errdefs.Wrap(class, context.Cause(ctx), "%s: %s: nothing was done", s.where, op)
	}
	err := call()
	if err == nil {
		return nil
	}
	class := classOf(err, lost)
	if end := classOfEnd(ctx); end != "" && class == errdefs.Unavailable && !isAnswer(err) {
		class = end
	}
	return errdefs.Wrap(class, err, "%s: %s", s.where, op)
}

// classOfEnd returns the class for a context that has ended, or "". The deadline is looked at too:
// that of the connection, which is the same, may pass a moment before the context notices.
func classOfEnd(ctx context.Context) errdefs.Class {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return errdefs.DeadlineExceeded
	}
	if ctx.Err() != nil {
		return errdefs.Canceled
	}
	return ""
}

func classOf(err error, lost errdefs.Class) errdefs.Class {
	var (
		classed *errdefs.Error
		answer  goredis.Error
		before  beforeError
		network *net.OpError
	)
	switch {
	case errors.As(err, &classed):
		return classed.Class()
	case errors.Is(err, errNotConfirmed):
		return lost
	case goredis.HasErrorPrefix(err, "OOM"):
		return errdefs.ResourceExhausted
	case errors.As(err, &answer):
		// An answer that says no: loading, read-only replica, cluster down, wrong password, no room in
		// the append-only file, … Scripts check everything before the first write, so nothing is done.
		return errdefs.Unavailable
	case errors.As(err, &before), errors.Is(err, goredis.ErrPoolTimeout), errors.Is(err, goredis.ErrPoolExhausted), errors.Is(err, goredis.ErrClosed):
		return errdefs.Unavailable
	case errors.As(err, &network) && network.Op == "dial":
		return errdefs.Unavailable
	}
	return lost
}

// isAnswer reports whether the server said no, as opposed to not saying anything.
func isAnswer(err error) bool {
	var answer goredis.Error
	return errors.As(err, &answer)
}
