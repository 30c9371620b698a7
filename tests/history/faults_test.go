// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// shortly is how long a store is frozen or full.
const shortly = 300 * time.Millisecond

// fault is something that goes wrong while requests are under way.
type fault int

const (
	none fault = iota
	killBridge
	restartDataPlane
	restartStore
	freezeStore
	cutDataPlane
	cutStore
	cutClients
	fillStore
	takeOverDead
	takeOverFrozen
	faultCount
)

func (f fault) String() string {
	return [...]string{
		none: "nothing", killBridge: "bridge killed", restartDataPlane: "data plane restarted", restartStore: "store restarted",
		freezeStore: "store frozen", cutDataPlane: "data plane cut off", cutStore: "store cut off", cutClients: "clients cut off",
		fillStore: "store full", takeOverDead: "bridge killed and replaced", takeOverFrozen: "bridge frozen and replaced",
	}[f]
}

// drawnFaults are those that are drawn. To be replaced takes as long as a lease, so it is rare.
func drawnFaults() []fault {
	often := []fault{cutClients, cutDataPlane, cutStore, restartStore, freezeStore, fillStore, restartDataPlane, killBridge}
	all := append(slices.Repeat(often, 4), takeOverDead, takeOverFrozen)
	if *onlyFaults == "" {
		return all
	}
	var some []fault
	for name := range strings.SplitSeq(*onlyFaults, ",") {
		i := slices.Index(faultNames(), name)
		if i < 0 {
			panic(fmt.Sprintf("-history.faults: there is no %q", name))
		}
		some = append(some, none+1+fault(i))
	}
	return some
}

// faultNames are those of all faults, in their order.
func faultNames() []string {
	names := make([]string, 0, faultCount)
	for f := none + 1; f < faultCount; f++ {
		names = append(names, f.String())
	}
	return names
}

// strike lets a fault happen, and ends it. A file as the store can only be full.
func (r *rig) strike(f fault) {
	r.t.Helper()
	if f != none {
		counted.add(func(c *tally) { c.faults++ })
	}
	switch f {
	case none, faultCount:
	case killBridge:
		r.bridge.Kill()
		r.bridge.Start()
		r.epoch, r.awaited = 0, 0
	case restartDataPlane:
		r.dataPlane.Restart()
		r.awaited = r.epoch + 1
	case cutDataPlane:
		r.toDataPlane.cut()
		r.awaited = r.epoch + 1
	case cutClients:
		r.toBridge.cut()
	case restartStore, freezeStore, cutStore:
		r.strikeStore(f)
	case fillStore:
		r.fillStore()
	case takeOverDead, takeOverFrozen:
		r.takeOver(f)
	}
}

func (r *rig) strikeStore(f fault) {
	r.t.Helper()
	switch {
	case r.redis == nil:
	case f == restartStore:
		r.redis.Kill()
		r.redis.Start()
	case f == freezeStore:
		r.redis.Pause()
		r.rest(shortly)
		r.redis.Resume()
	default:
		r.toStore.cut()
	}
}

// fillStore lets a store take nothing for a while: a Redis has no memory, a file can be written no further
// than to its first two pages.
func (r *rig) fillStore() {
	r.t.Helper()
	if r.redis != nil {
		r.redis.CLI("CONFIG", "SET", "maxmemory", "1")
		r.rest(shortly)
		r.redis.CLI("CONFIG", "SET", "maxmemory", "0")
		return
	}
	var before unix.Rlimit
	must(r.t, unix.Prlimit(r.bridge.PID(), unix.RLIMIT_FSIZE, nil, &before))
	must(r.t, unix.Prlimit(r.bridge.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 8192, Max: before.Max}, nil))
	r.rest(shortly)
	must(r.t, unix.Prlimit(r.bridge.PID(), unix.RLIMIT_FSIZE, &before, nil))
}

// takeOver starts a second bridge and ends the first one: at once, or by freezing it until it is replaced.
// Clients that are connected to the frozen one stay so until it goes on, finds out, and ends.
func (r *rig) takeOver(f fault) {
	r.t.Helper()
	if r.redis == nil {
		return // a file belongs to one bridge
	}
	old := r.bridge
	if r.spare == nil {
		r.spare = testkit.Bridge(r.t, r.config)
	} else {
		r.spare.Start()
	}
	if f == takeOverFrozen {
		old.Pause()
	} else {
		old.Kill()
	}
	r.toBridge.aim(r.spare.GRPCAddr())
	c := dial(r.t, r.spare.GRPCAddr())
	testkit.Eventually(r.t, "the second bridge takes over", func() error {
		_, err := c.invoke(r.t.Context(), "GetNullVolume", map[string]any{"name": "nullVolumes/nobody"})
		if status.Code(err) != codes.NotFound {
			return fmt.Errorf("it answers: %w", err)
		}
		return nil
	})
	must(r.t, c.Conn.Close())
	if f == takeOverFrozen {
		old.Resume()
		testkit.Eventually(r.t, "the first bridge ends", func() error {
			if old.Running() {
				return errRunning
			}
			return nil
		})
	}
	r.bridge, r.spare = r.spare, old
	r.epoch, r.awaited = 0, 0
}

var errRunning = errors.New("it runs")
