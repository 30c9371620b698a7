// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// burst is a number of clients that create and delete volumes, each its own, until the bridge fails
// them.
type burst struct {
	clients sync.WaitGroup
	cancel  context.CancelFunc

	mu sync.Mutex
	// exists says of each volume what was acknowledged last; one of which the last answer is missing is
	// not in it. Guarded by mu.
	exists map[resource.Name]bool
	count  int // acknowledged calls; guarded by mu
}

// beginBurst sends clients to the leader.
func (p *pair) beginBurst(clients int) *burst {
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	b := &burst{cancel: cancel, exists: map[resource.Name]bool{}}
	k, c := p.kinds["nullVolume"], p.leader
	for i := range clients {
		b.clients.Go(func() {
			for n := 0; ; n++ {
				name := resource.Name(fmt.Sprintf("nullVolumes/burst-%d-%d", i, n))
				if !b.call(name, true, func() error {
					_, err := c.Create(ctx, k, name, &pb.NullVolume{BlockSize: 512, BlocksCount: 64})
					return err
				}) {
					return
				}
				// One in eight stays.
				if n%8 != 0 && !b.call(name, false, func() error { return c.remove(ctx, k, name) }) {
					return
				}
			}
		})
	}
	p.t.Cleanup(func() { b.end() })
	return b
}

// call does one call and says whether it was acknowledged.
func (b *burst) call(name resource.Name, exists bool, do func() error) bool {
	b.mu.Lock()
	delete(b.exists, name) // until there is an answer it may be either
	b.mu.Unlock()
	if do() != nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.exists[name] = exists
	b.count++
	return true
}

// acked waits until so many calls have been acknowledged.
func (b *burst) acked(t *testing.T, calls int) {
	t.Helper()
	testkit.Eventually(t, "calls are acknowledged", func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.count < calls {
			return fmt.Errorf("%d so far", b.count)
		}
		return nil
	})
}

// end ends the clients and returns what was acknowledged.
func (b *burst) end() map[resource.Name]bool {
	b.cancel()
	b.clients.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.exists)
}
