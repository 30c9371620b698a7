// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

// counted tells how many requests a slow device holds.
type counted struct {
	slow
	inside *atomic.Int64
}

func (d counted) Submit(r *bdev.Request) {
	d.inside.Add(1)
	d.wg.Go(func() {
		<-d.gate
		err := d.do(r)
		d.inside.Add(-1)
		r.Complete(err)
	})
}

// holding exports a counted device, has a host write to it, and returns when the write is held.
func holding(t *testing.T) (*target.Target, target.Address, counted, *client, *client) {
	t.Helper()
	tgt := newTarget(t, target.TransportOptions{})
	d := counted{slow: newSlow(newRAM(512, 8)), inside: &atomic.Int64{}}
	at := export(t, tgt, d)
	a := admin(t, at, options{})
	q := ioQueue(t, at, a, options{}, 1)
	q.send(q.capsule(q.rw(nvme.IOWrite, 1, 0, 1), random(512), true))
	eventually(t, "the device has the write", func() bool { return d.inside.Load() == 1 })
	return tgt, at, d, a, q
}

// TestReconnectWaitsForTheLastConnection: a write that a host has abandoned must not be carried out
// after the host has come back, because by then the host may write the same blocks anew.
func TestReconnectWaitsForTheLastConnection(t *testing.T) {
	for what, leave := range map[string]func(a, q *client){
		"closed":   func(a, q *client) { a.conn.Close(); q.conn.Close() },
		"only I/O": func(_, q *client) { q.conn.Close() },
		"shut down": func(a, _ *client) {
			_ = a.propertySet(nvme.PropertyCC, uint64(nvme.MakeCC().WithSHN(nvme.SHNNormal)))
		},
	} {
		t.Run(what, func(t *testing.T) {
			_, at, d, a, q := holding(t)
			leave(a, q)
			timer := time.AfterFunc(50*time.Millisecond, func() { close(d.gate) })
			defer timer.Stop()
			admin(t, at, options{})
			if n := d.inside.Load(); n != 0 {
				t.Errorf("the host is back while the device has %d of its writes", n)
			}
		})
	}
}

// TestDisconnectComesAfterTheLastCommand: a host sees its connections closed only when none of its
// commands can change anything any more.
func TestDisconnectComesAfterTheLastCommand(t *testing.T) {
	tgt, at, d, a, q := holding(t)
	other := ioQueue(t, at, a, options{}, 2)
	timer := time.AfterFunc(50*time.Millisecond, func() { close(d.gate) })
	defer timer.Stop()
	gone := make(chan error, 1)
	go func() { gone <- tgt.RemoveListener(t.Context(), subNQN, at) }()
	for _, c := range []*client{a, other, q} {
		if !c.closed() {
			t.Error("a connection stays")
		}
		if n := d.inside.Load(); n != 0 {
			t.Errorf("a connection is closed while the device has %d writes", n)
		}
	}
	must(t, <-gone)
}

// TestAnotherHostDoesNotWait: only the host's own past matters.
func TestAnotherHostDoesNotWait(t *testing.T) {
	_, at, d, a, q := holding(t)
	a.conn.Close()
	q.conn.Close()
	admin(t, at, options{host: otherNQN})
	if d.inside.Load() != 1 {
		t.Error("the write has not been held")
	}
	close(d.gate)
}
