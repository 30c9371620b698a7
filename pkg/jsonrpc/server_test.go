// SPDX-License-Identifier: Apache-2.0

package jsonrpc_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
)

// TestServerLimits sends what SPDK v26.09 just takes and what it just does not (the sizes of the
// recording).
func TestServerLimits(t *testing.T) {
	t.Parallel()
	path := serve(t, methods(), nil)
	padded := func(size int) string {
		const frame = `{"jsonrpc":"2.0","id":1,"method":"none","params":{"name":""}}`
		return strings.Replace(frame, `""`, `"`+strings.Repeat("a", size-len(frame))+`"`, 1)
	}
	values := func(n int) string { // 14 values around n of them
		return `{"jsonrpc":"2.0","id":1,"method":"none","params":{"names":["a"` + strings.Repeat(`,"a"`, n-1) + `]}}`
	}
	for name, c := range map[string]struct {
		send     string
		answered bool
	}{
		"262144 bytes":         {padded(262144), true},
		"262145 bytes":         {padded(262145), false},
		"300000 bytes of gaps": {strings.Repeat(" ", 300000) + padded(100), false},
		"8192 values":          {values(8192 - 14), true},
		"8193 values":          {values(8192 - 13), false},
		"nested 64 deep":       {`{"id":1,"method":"none","params":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + "}", true},
		"nested 65 deep":       {`{"id":1,"method":"none","params":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + "}", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, path)
			_, _ = io.WriteString(conn, c.send) // may be cut off
			line, err := bufio.NewReader(conn).ReadString('\n')
			if answered := strings.Contains(line, "-32601"); answered != c.answered {
				t.Errorf("answered %v, want %v: %q, %v", answered, c.answered, line, err)
			}
		})
	}
}

// TestServerSlots fills all connections, and sees the next one served as soon as one is closed.
func TestServerSlots(t *testing.T) {
	t.Parallel()
	path := serve(t, methods(), func(cfg *jsonrpc.ServerConfig) { cfg.MaxConnections = 2 })
	ask := func(conn net.Conn) error {
		if _, err := io.WriteString(conn, `{"id":1,"method":"echo","params":[]}`); err != nil {
			return err
		}
		return nil
	}
	answer := func(conn net.Conn) string {
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return err.Error()
		}
		return line
	}
	const want = `{"jsonrpc":"2.0","id":1,"result":[]}` + "\n"
	first, second, third := dial(t, path), dial(t, path), dial(t, path)
	for _, conn := range []net.Conn{first, second, third} {
		if err := ask(conn); err != nil {
			t.Fatal(err)
		}
	}
	for _, conn := range []net.Conn{first, second} {
		if got := answer(conn); got != want {
			t.Fatalf("got %q", got)
		}
	}
	_ = third.SetReadDeadline(time.Now().Add(quiet))
	if got := answer(third); !strings.Contains(got, "timeout") {
		t.Fatalf("third connection is served before its turn: %q", got)
	}
	_ = third.SetReadDeadline(time.Time{})
	_ = first.Close()
	if got := answer(third); got != want {
		t.Fatalf("third connection after the first has gone: %q", got)
	}
}

// TestServerTurns lets many connections count with handlers that take no lock: the race detector
// and the sum show that they run one at a time.
func TestServerTurns(t *testing.T) {
	t.Parallel()
	counter := 0
	handlers := map[string]jsonrpc.Handler{
		"add": func(_ context.Context, call *jsonrpc.Call) { counter++; call.Reply(counter) },
	}
	path := serve(t, handlers, nil)
	const clients, each = 8, 100
	var all sync.WaitGroup
	for range clients {
		conn := dial(t, path)
		all.Go(func() {
			_, _ = io.WriteString(conn, strings.Repeat(`{"id":1,"method":"add"}`, each))
			lines, last := bufio.NewScanner(conn), 0
			for range each {
				if !lines.Scan() {
					t.Error("connection ended early")
					return
				}
				var got struct{ Result int }
				if err := json.Unmarshal(lines.Bytes(), &got); err != nil || got.Result <= last {
					t.Errorf("%s after %d: %v", lines.Bytes(), last, err)
				}
				last = got.Result
			}
		})
	}
	all.Wait()
	if counter != clients*each {
		t.Errorf("counted %d, want %d", counter, clients*each)
	}
}

// TestServerBadJSONLosesOnlyItsTurn: what was asked before, in another turn, is still answered.
func TestServerBadJSONLosesOnlyItsTurn(t *testing.T) {
	t.Parallel()
	ran := make(chan string, 10)
	handlers := methods()
	handlers["note"] = func(_ context.Context, call *jsonrpc.Call) { ran <- string(call.Params); call.Reply(true) }
	conn := dial(t, serve(t, handlers, nil))
	_, _ = io.WriteString(conn, `{"id":1,"method":"note","params":[1]}`)
	lines := bufio.NewReader(conn)
	if got, err := lines.ReadString('\n'); err != nil || !strings.Contains(got, `"id":1`) {
		t.Fatalf("%q, %v", got, err)
	}
	_, _ = io.WriteString(conn, `{"id":2,"method":"note","params":[2]}oops`)
	if rest, err := io.ReadAll(lines); len(rest) > 0 {
		t.Errorf("came %q, %v", rest, err)
	}
	if first, second := <-ran, <-ran; first != "[1]" || second != "[2]" {
		t.Errorf("ran %s and %s: the request before the bad one is carried out, its answer lost", first, second)
	}
}

// TestServerAnswers covers what the recording does not.
func TestServerAnswers(t *testing.T) {
	t.Parallel()
	handlers := methods()
	handlers["twice"] = func(_ context.Context, call *jsonrpc.Call) { call.Reply(1); call.Reply(2); call.Fail(3, "no") }
	handlers["huge"] = func(_ context.Context, call *jsonrpc.Call) { call.Reply(strings.Repeat("x", 1000)) }
	handlers["odd"] = func(_ context.Context, call *jsonrpc.Call) { call.Reply(func() {}) }
	path := serve(t, handlers, func(cfg *jsonrpc.ServerConfig) { cfg.MaxAnswerBytes = 500 })
	for send, want := range map[string]string{
		`{"id":1,"method":"twice"}`:                                  `{"jsonrpc":"2.0","id":1,"result":1}`,
		`{"id":1,"method":"huge"}`:                                   `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal error"}}`,
		`{"id":1,"method":"odd"}`:                                    `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal error"}}`,
		`{"id":1,"method":"echo","params":["<&>","é\u007f","😀"]}`:    `{"jsonrpc":"2.0","id":1,"result":["<&>","\u00E9\u007f","\uD83D\uDE00"]}`,
		` [ {"id":1,"method":"echo_async","params":[ 1 , {} ]} , 1]`: `[{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request"}},{"jsonrpc":"2.0","id":1,"result":[1,{}]}]`,
	} {
		conn := dial(t, path)
		_, _ = io.WriteString(conn, send)
		got, err := bufio.NewReader(conn).ReadString('\n')
		if strings.TrimSuffix(got, "\n") != want {
			if other := "[" + reorder(got) + "]"; other == want {
				continue
			}
			t.Errorf("%s:\ngot  %s\nwant %s, %v", send, got, want, err)
		}
	}
}

// reorder swaps the two answers of a batch.
func reorder(answer string) string {
	var both []json.RawMessage
	if json.Unmarshal([]byte(answer), &both) != nil || len(both) != 2 {
		return ""
	}
	return string(both[1]) + "," + string(both[0])
}

// TestServerStops ends the context while calls are open and clients idle.
func TestServerStops(t *testing.T) {
	t.Parallel()
	handlers := methods()
	started := make(chan *jsonrpc.Call, 1)
	handlers["never"] = func(_ context.Context, call *jsonrpc.Call) { started <- call }
	path := t.TempDir() + "/rpc.sock"
	stop := serveAt(t, path, handlers, nil)
	idle, busy := dial(t, path), dial(t, path)
	_, _ = io.WriteString(busy, `{"id":1,"method":"never"}`)
	call := <-started
	stop()
	for _, conn := range []net.Conn{idle, busy} {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes after the end", n)
		}
	}
	call.Reply(true) // too late, and harmless
}

func TestServerConfig(t *testing.T) {
	t.Parallel()
	if _, err := jsonrpc.NewServer(jsonrpc.ServerConfig{}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("got %v", err)
	}
}

// TestSlowReader pipelines far more than fits into socket buffers before it reads anything.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	path := serve(t, methods(), func(cfg *jsonrpc.ServerConfig) { cfg.MaxAnswerBytes = 64 << 10 })
	conn := dial(t, path)
	const n = 5000
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			if _, err := fmt.Fprintf(conn, `{"id":%d,"method":"echo","params":["%s"]}`, i, strings.Repeat("x", 200)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	lines := bufio.NewScanner(conn)
	for i := range n {
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf(`"id":%d,`, i)) {
			t.Fatalf("answer %d is %q, %v", i, lines.Text(), lines.Err())
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}
