// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// proxy stands between a driver and a real data plane. It hands every call on, except where a test
// puts an answer of its own in between, as other versions of SPDK give it.
type proxy struct {
	t      *testing.T
	socket string

	mu     sync.Mutex
	behind *jsonrpc.Client                  // guarded by mu
	rules  map[string]func(c *jsonrpc.Call) // by method; guarded by mu
	seen   []seen                           // guarded by mu
	stop   func()                           // guarded by mu

	// hook sees every call first, and may take it over. It is set before the first one comes.
	hook func(c *jsonrpc.Call) bool
}

// seen is a call that came.
type seen struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params,omitempty"`
}

// newProxy starts a proxy in front of the data plane at that socket.
func newProxy(t *testing.T, behind string) *proxy {
	t.Helper()
	p := &proxy{
		t: t, socket: filepath.Join(testkit.SocketDir(t), "proxy.sock"),
		rules: make(map[string]func(*jsonrpc.Call)),
	}
	p.connect(behind)
	p.start()
	t.Cleanup(func() {
		p.mu.Lock()
		stop := p.stop
		p.mu.Unlock()
		stop()
	})
	return p
}

// connect hands calls on to the data plane at that socket from now on.
func (p *proxy) connect(behind string) {
	p.t.Helper()
	up := make(chan struct{}, 1)
	client, err := jsonrpc.NewClient(jsonrpc.ClientConfig{
		Network: "unix", Address: behind, Log: slog.New(slog.DiscardHandler),
		OnReady: func() { up <- struct{}{} },
	})
	if err != nil {
		p.t.Fatal(err)
	}
	runUntilEnd(p.t, client.Run)
	<-up
	p.mu.Lock()
	defer p.mu.Unlock()
	p.behind = client
}

// start serves; restart breaks all connections and serves again.
func (p *proxy) start() {
	p.t.Helper()
	server, err := jsonrpc.NewServer(jsonrpc.ServerConfig{Lookup: p.lookup, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		p.t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", p.socket)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop = sync.OnceFunc(func() { cancel(); <-done })
}

func (p *proxy) restart() {
	p.t.Helper()
	p.mu.Lock()
	stop := p.stop
	p.mu.Unlock()
	stop()
	p.start()
}

func (p *proxy) lookup(method string) (jsonrpc.Handler, bool) {
	return func(_ context.Context, c *jsonrpc.Call) {
		p.mu.Lock()
		p.seen = append(p.seen, seen{method, c.Params})
		rule := p.rules[method]
		p.mu.Unlock()
		if p.hook != nil && p.hook(c) {
			return
		}
		if rule != nil {
			rule(c)
			return
		}
		p.forward(c, nil)
	}, true
}

// forward hands a call on, and its result back after change.
func (p *proxy) forward(c *jsonrpc.Call, change func(result json.RawMessage) any) {
	p.mu.Lock()
	behind := p.behind
	p.mu.Unlock()
	var params any
	if c.Params != nil {
		params = c.Params
	}
	var result json.RawMessage
	pending := behind.Start(context.Background(), c.Method, params, &result)
	go func() {
		err := pending.Wait(context.Background())
		refusal, refused := errors.AsType[*jsonrpc.Error](err)
		switch {
		case refused:
			c.Fail(refusal.Code, refusal.Message)
		case err != nil:
			return // nobody knows
		case change != nil:
			c.Reply(change(result))
		default:
			c.Reply(result)
		}
	}()
}

// rule puts a handler before a method; nil takes it away.
func (p *proxy) rule(method string, handler func(c *jsonrpc.Call)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules[method] = handler
}

// refuse answers a method with an error.
func (p *proxy) refuse(method string, code int, message string) {
	p.rule(method, func(c *jsonrpc.Call) { c.Fail(code, message) })
}

// calls returns what came of one method, or of all, since the last time.
func (p *proxy) calls(method string) []seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	var of []seen
	for _, s := range p.seen {
		if method == "" || s.Method == method {
			of = append(of, s)
		}
	}
	return of
}
