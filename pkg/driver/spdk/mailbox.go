// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"slices"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// mailbox keeps events for one consumer. Of each kind only the latest is kept.
type mailbox struct {
	out  chan driver.Event
	wake chan struct{} // cap 1

	mu      sync.Mutex
	pending []driver.EventKind // in the order they happened, each kind once; guarded by mu
}

func newMailbox() *mailbox {
	return &mailbox{out: make(chan driver.Event), wake: make(chan struct{}, 1)}
}

// put adds an event.
func (m *mailbox) put(kind driver.EventKind) {
	m.mu.Lock()
	m.pending = append(slices.DeleteFunc(m.pending, func(k driver.EventKind) bool { return k == kind }), kind)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// pump hands events out until ctx ends.
func (m *mailbox) pump(ctx context.Context) {
	for {
		m.mu.Lock()
		var out chan driver.Event
		var next driver.Event
		if len(m.pending) > 0 {
			out, next = m.out, driver.Event{Kind: m.pending[0]}
		}
		m.mu.Unlock()
		select {
		case out <- next:
			m.mu.Lock()
			// It may have been put again meanwhile, behind others: then it is told again.
			if len(m.pending) > 0 && m.pending[0] == next.Kind {
				m.pending = m.pending[1:]
			}
			m.mu.Unlock()
		case <-m.wake:
		case <-ctx.Done():
			return
		}
	}
}
