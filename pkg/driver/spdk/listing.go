// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"fmt"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// listing lets steps that look through all bdevs at the same time share one look: a thousand keys that
// are deleted together would list a thousand bdevs each otherwise. A look is shared by those who came
// before it was sent, so nobody sees less than was there when he asked.
type listing struct {
	turn chan struct{} // cap 1: holds an element while SPDK is asked

	mu   sync.Mutex
	next *look // the look that has not been sent yet, nil if nobody waits for one; guarded by mu
}

// look is one list of all bdevs on its way.
type look struct {
	done  chan struct{} // closed when bdevs and err are set; they do not change then
	bdevs []spdkrpc.Bdev
	err   error
}

func newListing() *listing { return &listing{turn: make(chan struct{}, 1)} }

// allBdevs returns all bdevs that there are now. The caller leaves the slice as it is.
func (d *Driver) allBdevs(ctx context.Context, why string) ([]spdkrpc.Bdev, error) {
	l := d.listing
	l.mu.Lock()
	mine := l.next
	first := mine == nil
	if first {
		mine = &look{done: make(chan struct{})}
		l.next = mine
	}
	l.mu.Unlock()
	if first && !d.leftover.start(func() { d.lookFor(context.WithoutCancel(ctx), mine) }) {
		d.lookFor(ctx, mine) // the driver has been stopped: the call will say so
	}
	select {
	case <-mine.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", why, stopped(ctx))
	}
	if mine.err != nil {
		return nil, plain("bdev_get_bdevs", mine.err, "%s", why)
	}
	return mine.bdevs, nil
}

// lookFor asks SPDK for those who wait for a look.
func (d *Driver) lookFor(ctx context.Context, mine *look) {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	d.listing.turn <- struct{}{} // whoever has it gives it back within patience
	defer func() { <-d.listing.turn }()
	d.listing.mu.Lock()
	d.listing.next = nil
	d.listing.mu.Unlock()
	mine.bdevs, mine.err = spdkrpc.GetBdevs(ctx, d.client)
	close(mine.done)
}
