// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// serve runs a data plane until the test ends and returns it with the path of its socket.
func serve(tb testing.TB) (*Server, string) {
	tb.Helper()
	return serveAs(tb, func(*Config) {})
}

// serveAs is serve with a configuration that has been changed.
func serveAs(tb testing.TB, change func(*Config)) (*Server, string) {
	tb.Helper()
	cfg := Config{Log: slog.New(slog.DiscardHandler), Kill: func(os.Signal) error { return nil }, VhostDir: tb.TempDir()}
	change(&cfg)
	s, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return s, serveOn(tb, s)
}

// caller is a connection that is used one call at a time.
type caller struct {
	testing.TB
	conn    net.Conn
	answers *json.Decoder
}

func dial(tb testing.TB, path string) *caller {
	tb.Helper()
	conn, err := (&net.Dialer{}).DialContext(tb.Context(), "unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &caller{TB: tb, conn: conn, answers: json.NewDecoder(conn)}
}

// answer is one answer; Code is 0 when it is a result.
type answer struct {
	ID     any             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// call sends a request with params as written, none if empty, and returns the answer.
func (c *caller) call(method, params string) answer {
	c.Helper()
	request := `{"jsonrpc":"2.0","id":1,"method":"` + method + `"`
	if params != "" {
		request += `,"params":` + params
	}
	c.send(request + "}")
	return c.receive()
}

func (c *caller) send(text string) {
	c.Helper()
	if _, err := c.conn.Write([]byte(text)); err != nil {
		c.Fatal(err)
	}
}

func (c *caller) receive() answer {
	c.Helper()
	var a answer
	if err := c.answers.Decode(&a); err != nil {
		c.Fatal(err)
	}
	return a
}

// must calls and wants a result.
func (c *caller) must(method, params string) json.RawMessage {
	c.Helper()
	a := c.call(method, params)
	if a.Error.Code != 0 {
		c.Fatalf("%s %s: %d %s", method, params, a.Error.Code, a.Error.Message)
	}
	return a.Result
}
