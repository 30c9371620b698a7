// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Delete removes a resource. What others still use is FailedPrecondition, naming the users: the data
// plane itself would never refuse. With allowMissing a resource that does not exist is no error.
func (e *Engine) Delete(ctx context.Context, kind *resource.Kind, name string, allowMissing bool) error {
	if kind.Derived() {
		return errdefs.New(errdefs.Unimplemented, "%s are found in the data plane and cannot be deleted", kind.Plural())
	}
	n, err := kind.Parse("name", name)
	if err != nil {
		return err
	}
	if err := e.admitting(ctx); err != nil {
		return err
	}
	e.certain(ctx, n)
	unlock, err := e.locks.Lock(ctx, n)
	if err != nil {
		return err
	}
	defer unlock()
	if err := e.afresh(ctx, n); err != nil {
		return err
	}

	e.mu.Lock()
	before, unread := e.index.entries[n], e.index.unreadable[n]
	if before == nil {
		e.mu.Unlock()
		switch {
		case unread != nil:
			err = unreadable(n, unread)
		case !allowMissing:
			err = errdefs.New(errdefs.NotFound, "%s does not exist", n)
		}
		return e.confirmed(ctx, err)
	}
	en, err := e.admitDelete(before)
	e.mu.Unlock()
	if err != nil {
		return e.confirmed(ctx, err)
	}
	if en != before {
		if err := e.intend(ctx, en, before); err != nil {
			return err
		}
	}
	return e.carryOut(ctx, en, true)
}

// admitDelete puts the entry of the deletion into the index and returns it; before itself when it is
// being deleted already. Hold mu.
func (e *Engine) admitDelete(before *entry) (*entry, error) {
	if before.limbo {
		return nil, errdefs.New(errdefs.Unavailable,
			"the store has not confirmed the last change of %s yet: try again", before.rec.Name)
	}
	if before.rec.State == resource.StateDeleting {
		return before, nil
	}
	if users := e.index.users(before, e.view()); slices.ContainsFunc(users, e.decided) {
		return nil, inUse(before.rec.Name, users)
	} else if len(users) > 0 {
		return nil, errdefs.Wrap(errdefs.Unavailable, undecided(e.index.entries[users[0]].rec), "%s may be in use", before.rec.Name)
	}
	en := *before
	en.before = before.rec
	en.rec = before.rec.With(func(r *resource.Record) { r.State, r.Updated = resource.StateDeleting, e.cfg.Now() })
	e.index.put(&en)
	return &en, nil
}

// maxUsersNamed bounds how many users an error names.
const maxUsersNamed = 20

func inUse(name resource.Name, users []resource.Name) error {
	err := errdefs.New(errdefs.FailedPrecondition, "%s is used by %s%s", name, users[0], andMore(len(users)-1))
	for i, user := range users {
		if i == maxUsersNamed {
			break
		}
		err = err.WithPrecondition(errdefs.Precondition{
			Type: "IN_USE", Subject: string(user), Description: "uses " + string(name) + ": delete it first",
		})
	}
	return err
}

func andMore(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}
