// SPDX-License-Identifier: Apache-2.0

package jsonrpc_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// exchange is one recorded connection to the real SPDK: what was sent when, what came back when.
type exchange struct {
	Step           string  `json:"step"`
	Send           [][]any `json:"send"`
	Recv           [][]any `json:"recv"`
	HalfClose      bool    `json:"half_close"`
	ClosedByServer []any   `json:"closed_by_server"`
}

// quiet is how long a connection is watched for an answer that must not come.
const quiet = 50 * time.Millisecond

// TestRecordedProtocol sends what was sent to SPDK v26.09 and expects the same bytes back.
func TestRecordedProtocol(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/protocol.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	path := serve(t, methods(), nil)
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var x exchange
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			t.Fatal(err)
		}
		t.Run(x.Step, func(t *testing.T) { t.Parallel(); replay(t, path, x) })
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

func replay(t *testing.T, path string, x exchange) {
	conn := dial(t, path)
	var want strings.Builder
	for _, part := range x.Recv {
		want.WriteString(part[1].(string))
	}
	got := &strings.Builder{}
	for i, part := range x.Send {
		text := part[1].(string)
		if x.Step == "invalid-utf8" {
			text = strings.ReplaceAll(text, `\xff`, "\xff")
		}
		if _, err := conn.Write([]byte(text)); err != nil && len(part) < 3 {
			t.Fatalf("send %d: %v", i, err)
		}
		if i+1 < len(x.Send) && x.Step == "garbage-later" && i == 0 {
			// The answer to the first request is sent before the garbage comes.
			readAtLeast(t, conn, got, want.Len())
		}
	}
	if x.HalfClose {
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	readAtLeast(t, conn, got, want.Len())
	if got.String() != want.String() {
		t.Errorf("got  %s\nwant %s", got, &want)
	}
	closed := readRest(t, conn, got, x.HalfClose)
	if got.Len() > want.Len() {
		t.Errorf("more came than SPDK sends: %q", got.String()[want.Len():])
	}
	if closed != (x.ClosedByServer != nil) {
		t.Errorf("closed by the server: %v, by SPDK: %v", closed, x.ClosedByServer != nil)
	}
}

// readAtLeast reads until got holds n bytes.
func readAtLeast(t *testing.T, r io.Reader, got *strings.Builder, n int) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for got.Len() < n {
		m, err := r.Read(buf)
		got.Write(buf[:m])
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
	}
}

// readRest reads until the connection is closed, which it reports, or has been quiet for a while.
func readRest(t *testing.T, conn interface {
	io.Reader
	SetReadDeadline(time.Time) error
}, got *strings.Builder, mustEnd bool,
) (closed bool) {
	t.Helper()
	wait := quiet
	if mustEnd {
		wait = time.Minute // the end comes with the last call's answer
	}
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(conn)
	got.Write(rest)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}
