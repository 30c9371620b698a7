// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// message is one request or reply, as it came.
type message struct {
	raw   []byte
	label string
	class class
}

// wire cuts the two directions of one connection into messages.
type wire interface {
	request() (message, error)
	reply() (message, error)
}

// proxy hands the messages of its connections on, each through the gate.
type proxy struct {
	gate     *gate
	listener net.Listener
	network  string
	upstream string
	wire     func(client, server io.Reader) wire

	mu    sync.Mutex
	conns map[net.Conn]struct{} // both ends of all connections; guarded by mu
	work  sync.WaitGroup
}

// newProxy listens on network and address, and forwards to upstream on the same network.
func newProxy(t *testing.T, g *gate, network, address, upstream string, w func(client, server io.Reader) wire) *proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{gate: g, listener: l, network: network, upstream: upstream, wire: w, conns: map[net.Conn]struct{}{}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p.work.Go(func() { p.accept(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		g.disarm()
		p.cut()
		p.work.Wait()
	})
	return p
}

func (p *proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := (&net.Dialer{}).DialContext(ctx, p.network, p.upstream)
		if err != nil {
			_ = client.Close() // as a server does that dies at once
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		if ctx.Err() != nil {
			p.cut()
		}
		p.join(client, server)
	}
}

// join forwards in both directions until either end closes.
func (p *proxy) join(client, server net.Conn) {
	w := p.wire(client, server)
	end := func() {
		_ = client.Close()
		_ = server.Close()
		p.mu.Lock()
		delete(p.conns, client)
		delete(p.conns, server)
		p.mu.Unlock()
	}
	p.work.Go(func() { defer end(); p.pump(w.request, server) })
	p.work.Go(func() { defer end(); p.pump(w.reply, client) })
}

func (p *proxy) pump(next func() (message, error), to net.Conn) {
	for {
		m, err := next()
		if err != nil {
			return
		}
		err = p.gate.pass(m.label, m.class, func() error { _, err := to.Write(m.raw); return err })
		if err != nil {
			return
		}
	}
}

// cut ends all connections; what waits at the gate is lost. A proxy that is not there has none.
func (p *proxy) cut() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// errWire says that a peer has sent what this proxy cannot read.
var errWire = errors.New("not a message of this protocol")
