// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"slices"
	"sync"
)

// gate numbers the messages that pass through the proxies in front of the bridge's neighbours, and
// stops the world at one of them.
type gate struct {
	// reached gets the label of the message at which the world was stopped.
	reached chan string

	mu sync.Mutex
	// guarded by mu:
	count  int           // messages that have passed since arm
	labels []string      // theirs
	at     int           // the one to stop at; 0 for none
	after  bool          // stop when it has been forwarded, not before
	reads  bool          // count calls that only look, too
	frozen chan struct{} // nothing passes until it is closed; nil while the world goes on
}

func newGate() *gate { return &gate{reached: make(chan string, 1)} }

// arm starts counting and stops the world at that message; reads says whether calls that change
// nothing count.
func (g *gate) arm(at int, after, reads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count, g.labels, g.at, g.after, g.reads = 0, nil, at, after, reads
	select {
	case <-g.reached:
	default:
	}
}

// disarm lets everything through from now on and returns how many messages have been counted.
func (g *gate) disarm() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at = 0
	if g.frozen != nil {
		close(g.frozen)
		g.frozen = nil
	}
	return g.count
}

// passed lists the messages that have passed since arm.
func (g *gate) passed() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.labels)
}

// class says what a message is to the gate.
type class int

const (
	background class = iota // comes by the clock: never counted
	look                    // changes nothing
	change
)

// pass forwards a message when its turn has come.
func (g *gate) pass(label string, c class, forward func() error) error {
	g.mu.Lock()
	for g.frozen != nil {
		thawed := g.frozen
		g.mu.Unlock()
		<-thawed
		g.mu.Lock()
	}
	if c == change || c == look && g.reads {
		g.count++
		g.labels = append(g.labels, label)
		if g.count == g.at {
			return g.stop(label, forward)
		}
	}
	g.mu.Unlock()
	return forward()
}

// stop stops the world. The caller holds mu, which it releases.
func (g *gate) stop(label string, forward func() error) error {
	thawed, after := make(chan struct{}), g.after
	g.frozen = thawed
	g.mu.Unlock()
	if after {
		err := forward()
		g.reached <- label
		return err
	}
	g.reached <- label
	<-thawed
	return forward()
}
