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
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
)

// full asks for every kind of fault at every point; without it the bridge is killed at every message
// of every mutation on Redis, and seed chooses from all other points.
var (
	full = flag.Bool("crash.full", false, "every fault at every point")
	seed = flag.Uint64("crash.seed", uint64(time.Now().Unix()), "chooses the points of a run that is not full")
)

// counted is what the last line says.
var counted = &tally{}

// tally counts crash points and what went wrong at them.
type tally struct {
	// mu guards the numbers.
	mu                 sync.Mutex
	points, violations int
	slowest            time.Duration // that it took until everything agreed again
	where              string        // after what that was
}

// point counts a crash point that was reached.
func (c *tally) point() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.points++
}

// agreed notes how long it took after a fault until everything agreed again.
func (c *tally) agreed(what string, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if took > c.slowest {
		c.slowest, c.where = took, what
	}
}

// violation counts what went wrong at a point, and fails the test with it.
func (c *tally) violation(t *testing.T, format string, args ...any) {
	t.Helper()
	c.mu.Lock()
	c.violations++
	c.mu.Unlock()
	t.Errorf("violation (-crash.seed=%d): "+format, append([]any{*seed}, args...)...)
}

func (c *tally) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("slowest agreement: %v after %s\nseed: %d, full: %v\ncrash points: %d, violations: %d",
		c.slowest.Round(time.Millisecond), c.where, *seed, *full, c.points, c.violations)
}

// reporter runs the tests and then says how many points there were. It runs more tests side by side
// than there are processors, for they wait most of the time.
type reporter struct{ m *testing.M }

func (r reporter) Run() int {
	// Before the flags are read, so it is what holds without one.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
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
