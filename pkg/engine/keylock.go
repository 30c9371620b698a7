// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// keyLock is a lock for each resource name, so that what happens to one resource happens in order and
// what happens to different ones at the same time.
type keyLock struct {
	// overdue is called when a name is unlocked that TryLock could not have and must not be forgotten.
	overdue func()

	mu sync.Mutex
	// guarded by mu; a name that nobody holds or waits for has no entry.
	held map[resource.Name]*nameLock
}

type nameLock struct {
	token chan struct{} // capacity 1; full while the name is locked
	users int           // holder and waiters, guarded by keyLock.mu
	owed  bool          // somebody wants to be told when it is unlocked, guarded by keyLock.mu
}

func newKeyLock(overdue func()) *keyLock {
	return &keyLock{overdue: overdue, held: map[resource.Name]*nameLock{}}
}

// Lock waits for the name until ctx ends, and returns how to unlock it.
func (k *keyLock) Lock(ctx context.Context, name resource.Name) (unlock func(), err error) {
	l := k.join(name)
	select {
	case l.token <- struct{}{}:
		return func() { k.unlock(name, l) }, nil
	case <-ctx.Done():
		k.leave(name, l)
		return nil, ctx.Err()
	}
}

// TryLock returns nil instead of waiting. With remind, overdue is then called when the name is free.
func (k *keyLock) TryLock(name resource.Name, remind bool) (unlock func()) {
	l := k.join(name)
	select {
	case l.token <- struct{}{}:
		return func() { k.unlock(name, l) }
	default:
	}
	if remind {
		k.mu.Lock()
		l.owed = true
		k.mu.Unlock()
	}
	k.leave(name, l)
	return nil
}

func (k *keyLock) unlock(name resource.Name, l *nameLock) {
	<-l.token
	k.leave(name, l)
}

func (k *keyLock) join(name resource.Name) *nameLock {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.held[name]
	if l == nil {
		l = &nameLock{token: make(chan struct{}, 1)}
		k.held[name] = l
	}
	l.users++
	return l
}

// leave gives the reminder that is owed, if nobody has the name now: whoever has it leaves later.
func (k *keyLock) leave(name resource.Name, l *nameLock) {
	k.mu.Lock()
	if l.users--; l.users == 0 {
		delete(k.held, name)
	}
	due := l.owed && len(l.token) == 0
	if due {
		l.owed = false
	}
	k.mu.Unlock()
	if due {
		k.overdue()
	}
}
