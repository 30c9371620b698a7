// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"sync"
	"time"
)

// locks is a lock for each device. The zero value is ready.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when given back; guarded by mu
}

// lock takes the lock of id and returns how to give it back, unless ctx ends before.
func (l *locks) lock(ctx context.Context, id string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		holder := l.held[id]
		if holder == nil {
			mine := make(chan struct{})
			if l.held == nil {
				l.held = map[string]chan struct{}{}
			}
			l.held[id] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.held, id)
				l.mu.Unlock()
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-holder:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
