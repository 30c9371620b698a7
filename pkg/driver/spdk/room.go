// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// usualMaxSubsystems is SPDK's default.
const usualMaxSubsystems = 1024

// room remembers how many subsystems one SPDK process can have. That is decided before it takes its
// first, and costs SPDK a description of all of them to tell, so it is asked once, when one is refused.
type room struct {
	mu  sync.Mutex
	cap int // guarded by mu; 0 before it was asked
}

// subsystems returns the cap; SPDK's default where this SPDK does not say.
func (r *room) subsystems(ctx context.Context, c spdkrpc.Caller) int {
	r.mu.Lock()
	known := r.cap
	r.mu.Unlock()
	if known > 0 {
		return known
	}
	got, err := spdkrpc.GetNvmfMaxSubsystems(ctx, c)
	if err != nil || got <= 0 {
		return usualMaxSubsystems
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cap = got
	return got
}

// noRoom is the refusal of one subsystem too many.
func (d *Driver) noRoom(ctx context.Context, nqn, method string, err error) error {
	sess, _ := d.now() // there is one: it has answered
	most := sess.room.subsystems(ctx, d.client)
	return refuse(errdefs.ResourceExhausted, method, err,
		"subsystem %s: the data plane has no room for another one: it can have %d, its discovery subsystem among them: "+
			"delete some, put more namespaces into each, or start the data plane with a larger nvmf_set_max_subsystems", nqn, most)
}
