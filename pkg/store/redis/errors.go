// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"net"

	goredis "github.com/redis/go-redis/v9"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// do runs a call and gives its error a class: lost is that of an answer which did not come.
func (s *Store) do(ctx context.Context, op string, lost errdefs.Class, call func() error) error {
	if ctx.Err() != nil {
		return errdefs.Wrap(classOfEnd(ctx), context.Cause(ctx), "%s: %s: nothing was done", s.where, op)
	}
	err := call()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && lost == errdefs.Unavailable {
		lost = classOfEnd(ctx)
	}
	return errdefs.Wrap(classOf(err, lost), err, "%s: %s", s.where, op)
}

// classOfEnd returns the class for a context that has ended.
func classOfEnd(ctx context.Context) errdefs.Class {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errdefs.DeadlineExceeded
	}
	return errdefs.Canceled
}

func classOf(err error, lost errdefs.Class) errdefs.Class {
	var (
		answer  goredis.Error
		before  dialError
		network *net.OpError
	)
	switch {
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
