// SPDX-License-Identifier: Apache-2.0

package jsonrpc_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// methods are a few of SPDK's, as far as the envelope needs them.
func methods() map[string]jsonrpc.Handler {
	return map[string]jsonrpc.Handler{
		"spdk_get_version": func(_ context.Context, call *jsonrpc.Call) {
			if call.Params != nil {
				call.Fail(jsonrpc.CodeInvalidParams, "spdk_get_version method requires no parameters")
				return
			}
			call.Reply(json.RawMessage(`{"version":"SPDK v26.09-pre git sha1 3230130e6a",` +
				`"fields":{"major":26,"minor":9,"patch":0,"suffix":"-pre","commit":"3230130e6a"}}`))
		},
		"bdev_malloc_create": func(_ context.Context, call *jsonrpc.Call) { call.Reply("h0") },
		"bdev_malloc_delete": func(_ context.Context, call *jsonrpc.Call) { go call.Reply(true) },
		"bdev_get_bdevs": func(ctx context.Context, call *jsonrpc.Call) {
			var params struct {
				Name    string
				Timeout int64 // ms
			}
			if call.Params[0] != '{' || json.Unmarshal(call.Params, &params) != nil || params.Timeout == 0 {
				call.Fail(jsonrpc.CodeInternalError, "spdk_json_decode_object failed")
				return
			}
			go func() {
				select {
				case <-time.After(time.Duration(params.Timeout) * time.Millisecond):
				case <-ctx.Done():
				}
				call.Fail(-110, "Connection timed out")
			}()
		},
		"echo": func(_ context.Context, call *jsonrpc.Call) { call.Reply(call.Params) },
		"echo_async": func(_ context.Context, call *jsonrpc.Call) {
			go call.Reply(call.Params)
		},
	}
}

// serve runs a server on a unix socket until the test ends, and returns its address.
func serve(t testing.TB, handlers map[string]jsonrpc.Handler, tune func(*jsonrpc.ServerConfig)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rpc.sock")
	stop := serveAt(t, path, handlers, tune)
	t.Cleanup(stop)
	return path
}

// serveAt runs a server on the unix socket path until stop is called.
func serveAt(t testing.TB, path string, handlers map[string]jsonrpc.Handler, tune func(*jsonrpc.ServerConfig)) (stop func()) {
	t.Helper()
	cfg := jsonrpc.ServerConfig{
		Lookup: func(method string) (jsonrpc.Handler, bool) { h, ok := handlers[method]; return h, ok },
		Log:    slog.New(slog.DiscardHandler),
	}
	if tune != nil {
		tune(&cfg)
	}
	s, err := jsonrpc.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Error("Serve has returned, and its socket is still there")
		}
	})
}

// dial connects to a unix socket until the test ends.
func dial(t testing.TB, path string) *net.UnixConn {
	t.Helper()
	nc, err := new(net.Dialer).DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	conn, ok := nc.(*net.UnixConn)
	if !ok {
		t.Fatalf("%T is no unix connection", nc)
	}
	return conn
}
