// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// relay hands on what passes between a client and a server, until its connections are cut.
type relay struct {
	listener net.Listener
	network  string
	work     sync.WaitGroup

	mu     sync.Mutex
	target string                // where new connections go, guarded by mu
	ends   map[net.Conn]struct{} // both ends of all connections, guarded by mu
}

// newRelay listens on a fresh address of the network ("tcp" or "unix") before target.
func newRelay(t *testing.T, network, target string) *relay {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(testkit.SocketDir(t), "relay.sock")
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, network: network, target: target, ends: map[net.Conn]struct{}{}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r.work.Go(func() { r.accept(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		r.cut()
		r.work.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

func (r *relay) accept(ctx context.Context) {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		target := r.target
		r.mu.Unlock()
		far, err := (&net.Dialer{}).DialContext(ctx, r.network, target)
		if err != nil {
			_ = near.Close() // as a server does that dies at once
			continue
		}
		r.mu.Lock()
		r.ends[near], r.ends[far] = struct{}{}, struct{}{}
		r.mu.Unlock()
		if ctx.Err() != nil {
			r.cut()
		}
		r.work.Go(func() { r.carry(near, far) })
		r.work.Go(func() { r.carry(far, near) })
	}
}

func (r *relay) carry(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	_ = from.Close()
	_ = to.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ends, from)
	delete(r.ends, to)
}

// cut ends all connections at once; new ones are taken.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.ends {
		_ = c.Close()
	}
	clear(r.ends)
}

// aim leads new connections to another server.
func (r *relay) aim(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
}
