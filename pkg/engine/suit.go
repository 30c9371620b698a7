// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// errUnsuited is in the chain of a problem with what an object needs: it is there, and not as the object
// must have it.
type errUnsuited struct {
	error
	need driver.Key
}

func (u errUnsuited) Unwrap() error { return u.error }

// suited says what is wrong when what is there, or about to be, does not suit what needs it. Hold mu for
// reading.
func (e *Engine) suited(en *entry, coming coming) error {
	if en.rec.State == resource.StateDeleting {
		return nil
	}
	for _, o := range en.objects {
		picky, ok := o.(driver.Picky)
		if !ok {
			continue
		}
		for _, need := range o.Needs() {
			needed := e.world.objects[need]
			if needed == nil && coming.has(need) {
				if needed = e.wanted(need); needed != nil && leavesOpen(driver.Step{Op: driver.Create, Object: needed}) {
					return e.awaited(need) // it can be seen when it is there
				}
			}
			if needed == nil {
				continue
			}
			if err := picky.Suits(needed); err != nil {
				return errUnsuited{err, need}
			}
		}
	}
	return nil
}

// wanted returns the object that should exist under a key, nil if none should. Hold mu for reading.
func (e *Engine) wanted(key driver.Key) driver.Object {
	if en := e.index.entries[e.index.owners[key]]; en != nil {
		for _, o := range en.objects {
			if o.Key() == key {
				return o
			}
		}
	}
	return nil
}

// awaited is the problem of what needs something that is not there yet. Hold mu for reading.
func (e *Engine) awaited(need driver.Key) error {
	if owner := e.index.owners[need]; owner != "" {
		return errdefs.Wrap(errdefs.Unavailable, errWaiting, "%s of %s", describe(need), owner)
	}
	return errdefs.Wrap(errdefs.Unavailable, errWaiting, "%s", describe(need))
}

// refresh has the data plane look again at what did not suit, which it may not do by itself: at the size
// of a file, say. That what is there has changed is seen at the next look.
func (e *Engine) refresh(ctx context.Context, unsuited errUnsuited) {
	e.mu.RLock()
	have, want := e.world.objects[unsuited.need], e.wanted(unsuited.need)
	e.mu.RUnlock()
	if have == nil || want == nil || len(want.Differences(have)) > 0 {
		return // it is not ours, or its owner takes care of it
	}
	if err := e.apply(ctx, []driver.Step{{Op: driver.Update, Object: want, From: have}})[0]; err != nil {
		e.cfg.Log.Debug("what does not suit cannot be looked at again", "object", describe(unsuited.need), "err", err)
	}
}
