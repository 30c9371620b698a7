// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"fmt"
	"testing"
)

// replay is something after which the bridge must put everything back by itself.
type replay struct {
	name string
	// begin makes it happen, with the gate armed; the bridge need not be ready when it returns.
	begin func(r *rig)
}

func replays() []replay {
	return []replay{
		{"boot on an empty data plane", func(r *rig) {
			r.bridge.Kill()
			r.dpProxy.cut()
			r.stProxy.cut()
			r.dataPlane.Restart()
			r.bridge.Launch()
		}},
		{"repair of a data plane that was restarted", func(r *rig) {
			r.dataPlane.Kill()
			r.dpProxy.cut()
			r.dataPlane.Start()
		}},
	}
}

// stride is how far apart the points of a replay are at which f happens: a replay has many messages
// that are alike.
func stride(f fault) int {
	if *full || f.every {
		return 1
	}
	return 5
}

// TestReplay breaks the replay at boot, and the repair after a restart of the data plane, at every
// message.
func TestReplay(t *testing.T) {
	shared := newStorage(t)
	for _, replay := range replays() {
		t.Run(replay.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, shared)
			for _, b := range everything() {
				r.build(b)
				r.known = append(r.known, b.name)
			}
			must(t, r.settled())
			for _, f := range faults() {
				r.as(t, f.name, func() {
					for at := 1; r.again(replay, f, at, false) && r.again(replay, f, at, true); at += stride(f) {
					}
				})
			}
		})
	}
}

// again breaks a replay once, and says whether it had so many messages.
func (r *rig) again(replay replay, f fault, at int, after bool) bool {
	r.t.Helper()
	r.gate.arm(at, after, true)
	replay.begin(r)
	reached, done := "", make(chan error, 1)
	go func() { done <- r.settled() }()
	var err error
	select {
	case reached = <-r.gate.reached:
		f.do(r)
		r.gate.disarm()
		if f.fatal {
			r.bridge.Start()
		}
		err = <-done
	case err = <-done:
		r.gate.disarm()
	}
	what := fmt.Sprintf("%s, %s at message %d (%s), after it: %v", replay.name, f.name, at, reached, after)
	if reached != "" {
		counted.point()
	}
	if err == nil {
		// The first look may have come before the fault.
		err = r.settled()
	}
	if err == nil {
		err = r.standing()
	}
	if err != nil {
		counted.violation(r.t, "%s: %v", what, err)
		r.bridge.Restart()
		must(r.t, r.settled())
	}
	return reached != ""
}
