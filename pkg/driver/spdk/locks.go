// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// keyedLock is a lock for each key.
type keyedLock struct {
	mu    sync.Mutex
	locks map[string]*oneLock // guarded by mu
}

// oneLock is held by whoever has put an element into held.
type oneLock struct {
	held  chan struct{} // cap 1
	users int           // holder and those who wait; guarded by keyedLock.mu
}

func newKeyedLock() *keyedLock { return &keyedLock{locks: make(map[string]*oneLock)} }

// lock takes the lock of key, unless ctx ends before.
func (k *keyedLock) lock(ctx context.Context, key string) error {
	k.mu.Lock()
	l := k.locks[key]
	if l == nil {
		l = &oneLock{held: make(chan struct{}, 1)}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()
	select {
	case l.held <- struct{}{}:
		return nil
	case <-ctx.Done():
		k.leave(key, l)
		return stopped(ctx)
	}
}

// unlock gives the lock of key back.
func (k *keyedLock) unlock(key string) {
	k.mu.Lock()
	l := k.locks[key]
	k.mu.Unlock()
	<-l.held
	k.leave(key, l)
}

func (k *keyedLock) leave(key string, l *oneLock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.locks, key)
	}
}

// group is goroutines that one owner waits for at the end.
type group struct {
	mu     sync.Mutex
	closed bool // guarded by mu
	wg     sync.WaitGroup
}

func newGroup() *group { return &group{} }

// start runs f on a goroutine, unless the group is closed, which it reports.
func (g *group) start(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.wg.Go(f)
	return true
}

// close waits for all; nothing is started any more.
func (g *group) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.wg.Wait()
}

// nsidRest is how long the id of a removed namespace rests before it is used again. An initiator
// that is connected needs up to 110 ms to see the removal; within that time it would take the new
// namespace for the old one, with the old uuid and block size.
const nsidRest = 250 * time.Millisecond

// removals remembers which namespaces were removed a moment ago.
type removals struct {
	mu   sync.Mutex
	when map[driver.Key]time.Time // guarded by mu
}

func newRemovals() *removals { return &removals{when: make(map[driver.Key]time.Time)} }

// note remembers a removal, and forgets those that do not matter any more.
func (r *removals) note(key driver.Key, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.when) >= 1024 {
		for k, t := range r.when {
			if now.Sub(t) >= nsidRest {
				delete(r.when, k)
			}
		}
	}
	r.when[key] = now
}

// rest returns how long key must still rest.
func (r *removals) rest(key driver.Key, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.when[key]
	if !ok {
		return 0
	}
	left := nsidRest - now.Sub(t)
	if left <= 0 {
		delete(r.when, key)
		return 0
	}
	return left
}
