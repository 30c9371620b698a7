// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// relay is a wire between 127.0.0.1:port here and another port, which can be cut: nothing arrives any
// more, and neither end is told.
type relay struct {
	listener net.Listener
	target   string
	wait     sync.WaitGroup

	// bytes is how many it has carried.
	bytes atomic.Uint64

	// mu guards what follows.
	mu sync.Mutex
	// cut says that connections are taken and nothing is carried.
	cut bool
	// ends are the connections, both ends by the near one.
	ends map[net.Conn]net.Conn
	// mended is closed when a wire that is cut may carry again.
	mended chan struct{}
}

// newRelay starts a wire to a port.
func newRelay(t *testing.T, target int) *relay {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, target: net.JoinHostPort("127.0.0.1", strconv.Itoa(target)), ends: map[net.Conn]net.Conn{}, mended: make(chan struct{})}
	close(r.mended)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r.wait.Go(func() { r.accept(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		r.mend()
		r.wait.Wait()
	})
	return r
}

// port is where the wire begins.
func (r *relay) port() int {
	return r.listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // it is a TCP listener
}

func (r *relay) accept(ctx context.Context) {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		far, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		r.mu.Lock()
		r.ends[near] = far
		r.mu.Unlock()
		r.wait.Go(func() { r.carry(ctx, near, far) })
		r.wait.Go(func() { r.carry(ctx, far, near) })
	}
}

// carry copies until an end is closed, and stands still while the wire is cut.
func (r *relay) carry(ctx context.Context, from, to net.Conn) {
	defer func() {
		_ = from.Close()
		_ = to.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.ends, from) // one of the two
		delete(r.ends, to)
	}()
	buf := make([]byte, 128<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-r.state():
		case <-ctx.Done():
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		r.bytes.Add(uint64(n))
	}
}

// state returns a channel that is closed when the wire carries.
func (r *relay) state() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mended
}

// open is the number of connections.
func (r *relay) open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ends)
}

// sever cuts the wire.
func (r *relay) sever() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut, r.mended = true, make(chan struct{})
}

// mend lets the wire carry again; what was on it is lost with its connections, as if the machine at
// its end had forgotten them.
func (r *relay) mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for near, far := range r.ends {
		_ = near.Close()
		_ = far.Close()
	}
	clear(r.ends)
	if r.cut {
		r.cut = false
		close(r.mended)
	}
}
