// SPDX-License-Identifier: Apache-2.0

// Package testkit starts the real parts that tests need: a redis-server, the embedded data plane,
// the bridge. Everything listens on loopback or a unix socket and is ended with the test. Only tests
// import it.
package testkit

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// patience bounds every wait. It is generous, because a busy machine is slow and a right test never
// waits that long.
const patience = 90 * time.Second

// pause lies between two looks of Eventually.
const pause = 2 * time.Millisecond

// Eventually calls check until it returns nil, at most for patience or until the test's context ends,
// and ends the test with the last error after that.
func Eventually(tb testing.TB, what string, check func() error) {
	tb.Helper()
	if err := eventually(tb.Context(), check); err != nil {
		tb.Fatalf("%s: %v", what, err)
	}
}

// errGaveUp is returned by eventually with the last error.
var errGaveUp = errors.New("gave up waiting")

func eventually(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errGaveUp)
	defer cancel()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// FreePort returns a TCP port on 127.0.0.1 that was free a moment ago. It lies below the range that
// the kernel takes the ports of outgoing connections from, so that a server which is killed and
// started again finds its port free. Another test may still take it: prefer a unix socket or port 0
// where that will do.
func FreePort(tb testing.TB) int {
	tb.Helper()
	const lowest, count, tries = 10_000, 20_000, 100
	var last error
	for range tries {
		port := lowest + rand.IntN(count)
		l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			err = l.Close()
		}
		if err == nil {
			return port
		}
		last = err
	}
	tb.Fatalf("find a free port: %v", last)
	return 0
}

// SocketDir returns a directory for unix sockets, which is removed with the test. Its path is short:
// the path of a socket has room for some 100 bytes, and that of TempDir may be longer.
func SocketDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "opi") //nolint:usetesting // TempDir's paths are too long for sockets
	if err != nil {
		tb.Fatalf("make a directory for sockets: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
