// SPDX-License-Identifier: Apache-2.0

// Package crash_test breaks the real programs at every single message. Proxies in front of the data
// plane and of Redis number what passes; for each number the bridge is killed, or a neighbour is, or a
// connection is cut, before and after that message, and then everything must agree again: calls that
// were acknowledged hold, others have wholly happened or not at all, and the same request succeeds.
package crash_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
)

// full asks for every kind of fault at every point.
var full = flag.Bool("crash.full", false, "every fault at every point of a replay, not only at every fifth")

// counted is what the last line says.
var counted = &tally{}

// tally counts crash points and what went wrong at them.
type tally struct {
	// mu guards the numbers.
	mu                 sync.Mutex
	points, violations int
}

// point counts a crash point that was reached.
func (c *tally) point() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.points++
}

// violation counts what went wrong at a point, and fails the test with it.
func (c *tally) violation(t *testing.T, format string, args ...any) {
	t.Helper()
	c.mu.Lock()
	c.violations++
	c.mu.Unlock()
	t.Errorf("violation: "+format, args...)
}

func (c *tally) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("crash points: %d, violations: %d", c.points, c.violations)
}

// reporter runs the tests and then says how many points there were.
type reporter struct{ m *testing.M }

func (r reporter) Run() int {
	status := r.m.Run()
	fmt.Fprintln(os.Stdout, counted)
	return status
}

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == underDisk {
		fmt.Fprintln(os.Stderr, launch(os.Args[2], os.Args[3:]))
		os.Exit(1) //nolint:forbidigo // this process was to become another program
	}
	redis.LogTo(slog.New(slog.DiscardHandler)) // that a server which was killed is away is no news
	goleak.VerifyTestMain(reporter{m})
}
