// SPDX-License-Identifier: Apache-2.0

// Package soak_test keeps a bridge with many disks under mixed load for a long time, with its neighbours
// and itself dying in between, and looks for what grows: memory, goroutines, file descriptors. At the end
// everything that was asked for is there, with the identity that it had at first.
package soak_test

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// `make soak` is the long variant.
var (
	disks = flag.Int("soak.disks", 1000, "how many disks there are besides those that come and go")
	load  = flag.Duration("soak.load", 2*time.Minute, "how long the load lasts, all rounds together")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fault is what happens in the middle of a round of load.
type fault string

const (
	none      fault = "nothing"
	killed    fault = "SIGKILL of the bridge"
	dataPlane fault = "restart of the data plane"
	storeGone fault = "restart of the store"
)

// rounds is what dies in which round. The bridge lives through all but the first, so that what it loses
// at each restart of a neighbour adds up.
func rounds() []fault {
	return []fault{killed, none, storeGone, none, dataPlane, storeGone, none, dataPlane, none, none}
}

func TestSoak(t *testing.T) {
	s := newSite(t)
	s.buildDisks()
	first := s.disks()
	var lives lives
	for i, what := range rounds() {
		s.round(i, what, *load/time.Duration(len(rounds())))
		s.settled()
		now := s.reading()
		lives.add(what, now)
		t.Logf("round %d, %s: %s; bridge %s; data plane %s", i, what, s.work.String(), now.bridge, now.dataPlane)
		if t.Failed() {
			return
		}
	}
	for _, what := range lives.growth() {
		t.Error(what)
	}
	s.compare(first, s.disks())
	s.compareDataPlane(first)
}
