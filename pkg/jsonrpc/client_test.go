// SPDX-License-Identifier: Apache-2.0

package jsonrpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
)

// connect runs a client until the test ends. It returns without waiting for a connection.
func connect(t testing.TB, cfg jsonrpc.ClientConfig) *jsonrpc.Client {
	t.Helper()
	if cfg.Network == "" {
		cfg.Network = "unix"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c, err := jsonrpc.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return c
}

// connected runs a client and waits for its connection.
func connected(t testing.TB, path string) *jsonrpc.Client {
	t.Helper()
	up := make(chan struct{}, 1)
	c := connect(t, jsonrpc.ClientConfig{Address: path, OnUp: func(context.Context, *jsonrpc.Client) error {
		up <- struct{}{}
		return nil
	}})
	<-up
	eventually(t, func() bool { return c.Call(t.Context(), "spdk_get_version", nil, nil) == nil })
	return c
}

// eventually polls until what is expected is true, for ten seconds at most.
func eventually(t testing.TB, expected func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !expected() {
		select {
		case <-deadline:
			t.Fatal("it never came true")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestClientCalls(t *testing.T) {
	t.Parallel()
	c := connected(t, serve(t, methods(), nil))
	var got []string
	if err := c.Call(t.Context(), "echo", []string{"<é>", "b"}, &got); err != nil || len(got) != 2 || got[0] != "<é>" {
		t.Errorf("got %v, %v", got, err)
	}
	var refusal *jsonrpc.Error
	if err := c.Call(t.Context(), "nosuch", nil, nil); !errors.As(err, &refusal) || refusal.Code != jsonrpc.CodeMethodNotFound {
		t.Errorf("got %v", err)
	}
	if err := c.Call(t.Context(), "odd \x00\"name", nil, nil); !errors.As(err, &refusal) {
		t.Errorf("got %v", err)
	}
	var number int
	if err := c.Call(t.Context(), "echo", []int{1}, &number); !errors.Is(err, errdefs.Internal) {
		t.Errorf("an answer of another type: %v", err)
	}
	if err := c.Call(t.Context(), "echo", []any{func() {}}, nil); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("parameters that are no JSON: %v", err)
	}
	if err := c.Call(t.Context(), "echo", []string{strings.Repeat("x", 40000)}, nil); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("a long request: %v", err)
	}
	if err := c.Call(t.Context(), "echo", []int{}, nil); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// TestClientPipelines has thousands of calls in flight whose answers overtake each other.
func TestClientPipelines(t *testing.T) {
	t.Parallel()
	c := connected(t, serve(t, methods(), nil))
	const workers, each = 4, 1000
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			calls, got := make([]*jsonrpc.Pending, each), make([][]int, each)
			for i := range each {
				calls[i] = c.Start(t.Context(), []string{"echo", "echo_async"}[i%2], []int{w, i}, &got[i])
			}
			for i, call := range calls {
				if err := call.Wait(t.Context()); err != nil || len(got[i]) != 2 || got[i][0] != w || got[i][1] != i {
					t.Errorf("call %d of %d got %v, %v", i, w, got[i], err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestClientGivesUp cancels calls at every stage, and sees the connection go on.
func TestClientGivesUp(t *testing.T) {
	t.Parallel()
	handlers := methods()
	started := make(chan *jsonrpc.Call, 1)
	handlers["never"] = func(_ context.Context, call *jsonrpc.Call) { started <- call }
	c := connected(t, serve(t, handlers, nil))

	before, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Call(before, "echo", []int{1}, nil); !errors.Is(err, errdefs.Canceled) || errors.Is(err, errdefs.OutcomeUnknown) {
		t.Errorf("canceled before: %v", err)
	}
	late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	if err := c.Call(late, "echo", []int{1}, nil); !errors.Is(err, errdefs.DeadlineExceeded) {
		t.Errorf("deadline before: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	call := c.Start(ctx, "never", nil, nil)
	open := <-started
	cancel()
	if err := call.Wait(ctx); !errors.Is(err, errdefs.OutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("canceled after it was sent: %v", err)
	}
	open.Reply("too late")
	if err := c.Call(t.Context(), "echo", []int{1}, nil); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// TestClientLosesConnection takes the server away under open calls and brings it back.
func TestClientLosesConnection(t *testing.T) {
	t.Parallel()
	handlers := methods()
	started := make(chan *jsonrpc.Call, 1)
	handlers["never"] = func(_ context.Context, call *jsonrpc.Call) { started <- call }
	path := t.TempDir() + "/rpc.sock"
	stop := serveAt(t, path, handlers, nil)

	var ups, downs atomic.Int32
	observed := make(chan error, 100)
	c := connect(t, jsonrpc.ClientConfig{
		Address: path,
		OnUp:    func(context.Context, *jsonrpc.Client) error { ups.Add(1); return nil },
		OnDown:  func(error) { downs.Add(1) },
		Observe: func(_ context.Context, method string, _ time.Duration, err error) {
			if method == "never" {
				observed <- err
			}
		},
	})
	eventually(t, func() bool { return c.Call(t.Context(), "spdk_get_version", nil, nil) == nil })
	call := c.Start(t.Context(), "never", nil, nil)
	<-started
	stop()
	if err := call.Wait(t.Context()); !errors.Is(err, errdefs.OutcomeUnknown) {
		t.Errorf("the open call: %v", err)
	}
	if err := <-observed; !errors.Is(err, errdefs.OutcomeUnknown) {
		t.Errorf("observed %v", err)
	}
	eventually(t, func() bool { return downs.Load() >= 2 })
	if err := c.Call(t.Context(), "echo", []int{1}, nil); !errors.Is(err, errdefs.Unavailable) || !strings.Contains(err.Error(), path) {
		t.Errorf("while the server is away: %v", err)
	}
	stop = serveAt(t, path, handlers, nil)
	defer stop()
	eventually(t, func() bool { return c.Call(t.Context(), "echo", []int{1}, nil) == nil })
	c.Disconnect(errors.New("enough"))
	eventually(t, func() bool { return ups.Load() == 3 && c.Call(t.Context(), "echo", []int{1}, nil) == nil })
}

// TestClientHandshake: nobody calls before the handshake is done, and one that fails is made again.
func TestClientHandshake(t *testing.T) {
	t.Parallel()
	var order []string
	var mu sync.Mutex
	handlers := methods()
	for _, name := range []string{"hello", "work"} {
		handlers[name] = func(_ context.Context, call *jsonrpc.Call) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			call.Reply(len(order))
		}
	}
	path := serve(t, handlers, nil)
	again := make(chan struct{})
	c := connect(t, jsonrpc.ClientConfig{Address: path, OnUp: func(ctx context.Context, c *jsonrpc.Client) error {
		var n int
		if err := c.Call(ctx, "hello", nil, &n); err != nil {
			return err
		}
		if n < 3 {
			return errors.New("not yet")
		}
		<-again
		return nil
	}})
	eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == 3 })
	if err := c.Call(t.Context(), "work", nil, nil); !errors.Is(err, errdefs.Unavailable) {
		t.Errorf("before the handshake is done: %v", err)
	}
	close(again)
	eventually(t, func() bool { return c.Call(t.Context(), "work", nil, nil) == nil })
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(order, " "); got != "hello hello hello work" {
		t.Errorf("order: %s", got)
	}
}

// TestClientBadServers survives servers that talk nonsense.
func TestClientBadServers(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"no JSON":       "HTTP/1.1 400 Bad Request\r\n\r\n",
		"an array":      `[{"id":1,"result":1}]`,
		"a number":      `5 `,
		"no result":     `{"id":1}`,
		"both":          `{"id":1,"result":1,"error":{"code":1,"message":""}}`,
		"bad error":     `{"id":1,"error":"oh"}`,
		"endless":       `{"id":1,"result":"` + strings.Repeat("x", 5000),
		"nothing":       ``,
		"half a result": `{"id":1,"res`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir() + "/bad.sock"
			l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
			if err != nil {
				t.Fatal(err)
			}
			var server sync.WaitGroup
			defer server.Wait()
			defer func() { _ = l.Close() }()
			server.Go(func() {
				for {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					if _, err := nc.Read(make([]byte, 100)); err == nil {
						_, _ = io.WriteString(nc, answer)
					}
					_ = nc.Close()
				}
			})
			c := connect(t, jsonrpc.ClientConfig{Address: path, MaxAnswerBytes: 4000})
			err = errdefs.Unavailable
			eventually(t, func() bool {
				err = c.Call(t.Context(), "x", nil, nil)
				return !errors.Is(err, errdefs.Unavailable)
			})
			if !errors.Is(err, errdefs.OutcomeUnknown) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestClientIgnoresStrangeIDs: an answer that nobody waits for harms nobody.
func TestClientIgnoresStrangeIDs(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/odd.sock"
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = nc.Close() }()
		if _, err := nc.Read(make([]byte, 100)); err == nil {
			_, _ = io.WriteString(nc, `{"id":null,"error":{"code":-32600,"message":"x"}}{"id":"a","result":1}`+
				`{"id":99,"result":1}{"id":-1,"result":1}{"id":1,"result":"yes","extra":{}}`)
			_, _ = nc.Read(make([]byte, 1))
		}
	}()
	c := connect(t, jsonrpc.ClientConfig{Address: path})
	var got string
	eventually(t, func() bool { return !errors.Is(c.Call(t.Context(), "x", nil, &got), errdefs.Unavailable) })
	if got != "yes" {
		t.Errorf("got %q", got)
	}
}

// TestClientKeepsSecrets looks for parameters and results in everything that is logged.
func TestClientKeepsSecrets(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(lockedWriter{&mu, &out}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	path := t.TempDir() + "/rpc.sock"
	tune := func(cfg *jsonrpc.ServerConfig) { cfg.Log = log }
	stop := serveAt(t, path, methods(), tune)
	c := connect(t, jsonrpc.ClientConfig{Address: path, Log: log})
	eventually(t, func() bool { return c.Call(t.Context(), "echo", map[string]string{"key": "s3cr3t"}, nil) == nil })
	err := c.Call(t.Context(), "nosuch", map[string]string{"key": "s3cr3t"}, nil)
	stop()
	err = errors.Join(err, c.Call(t.Context(), "echo", map[string]string{"key": "s3cr3t"}, nil))
	mu.Lock()
	defer mu.Unlock()
	if all := out.String() + err.Error(); strings.Contains(all, "s3cr3t") || !strings.Contains(all, "connected") {
		t.Errorf("logged:\n%s", all)
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestClientConfig(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	for _, cfg := range []jsonrpc.ClientConfig{
		{},
		{Network: "udp", Address: "x", Log: log},
		{Network: "unix", Log: log},
		{Network: "unix", Address: "x"},
		{Network: "unix", Address: "x", Log: log, MinBackoff: -1},
	} {
		if _, err := jsonrpc.NewClient(cfg); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, inFlight := range []int{1, 256} {
		b.Run(map[int]string{1: "1", 256: "256"}[inFlight], func(b *testing.B) {
			c := connected(b, serve(b, methods(), nil))
			params := map[string]any{"name": "malloc0", "block_size": 512, "num_blocks": 8192}
			b.ReportAllocs()
			calls := make([]*jsonrpc.Pending, 0, inFlight)
			var result json.RawMessage
			for i := 0; b.Loop(); i++ {
				if len(calls) == inFlight {
					for _, call := range calls {
						if err := call.Wait(b.Context()); err != nil {
							b.Fatal(err)
						}
					}
					calls = calls[:0]
				}
				calls = append(calls, c.Start(b.Context(), "echo", params, &result))
			}
			for _, call := range calls {
				_ = call.Wait(b.Context())
			}
		})
	}
}
