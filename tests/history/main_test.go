// SPDX-License-Identifier: Apache-2.0

// Package history_test lets several clients do random things to the real programs while these are
// killed and cut off, and asks whether all answers fit together: in one test against a model of the API
// that is written from its documentation (histories are drawn by rapid, which cuts failing ones down
// and which are kept in testdata), in the other for linearizability of each single resource (porcupine).
package history_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
)

// runTime is for how long each test makes histories.
var runTime = flag.Duration("history.time", 14*time.Second, "for how long each test makes new histories")

// onlyFaults chooses among the faults.
var onlyFaults = flag.String("history.faults", "", "only these faults go wrong in new histories, separated by commas: "+strings.Join(faultNames(), ", "))

// enough histories for any time that is given.
const enough = 200_000

// counted is what the last line says.
var counted = &tally{}

// tally counts what was done to the bridge.
type tally struct {
	// mu guards the numbers.
	mu                                       sync.Mutex
	calls, unknown, faults, histories, wrong int
}

// add counts up.
func (c *tally) add(f func(c *tally)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func (c *tally) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("histories: %d, calls: %d (%d without an answer), faults: %d, violations: %d", c.histories, c.calls, c.unknown, c.faults, c.wrong)
}

// reporter runs the tests and then says what was done.
type reporter struct{ m *testing.M }

func (r reporter) Run() int {
	status := r.m.Run()
	fmt.Fprintln(os.Stdout, counted)
	return status
}

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", strconv.Itoa(enough)); err != nil { // the command line may say otherwise
		panic(err)
	}
	if err := flag.Set("rapid.nofailfile", "true"); err != nil { // histories are kept in words
		panic(err)
	}
	redis.LogTo(slog.New(slog.DiscardHandler)) // that a server which was killed is away is no news
	goleak.VerifyTestMain(reporter{m})
}
