// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// How long a standby may take.
const (
	takeoverOfDead   = 5 * time.Second
	takeoverOfFrozen = 15 * time.Second
)

var errRunning = errors.New("it runs")

// pair is a rig whose bridge leads, and a second bridge on the same store and data plane.
type pair struct {
	*rig
	leader, standby client
	second          *testkit.BridgeProcess
}

func newPair(t *testing.T) *pair {
	t.Helper()
	r := newRig(t, newStorage(t))
	for _, b := range everything() {
		r.build(b)
		r.known = append(r.known, b.name)
	}
	second := testkit.Bridge(t, testkit.BridgeConfig{
		SPDK: r.dataPlane.Addr(), Store: "redis://" + r.redis.Addr() + "/0", Instance: instance, WaitFor: "/healthz",
	})
	return &pair{rig: r, leader: r.client, standby: dial(t, second.GRPCAddr()), second: second}
}

// takenOver waits until the standby takes mutations.
func (p *pair) takenOver(within time.Duration) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), within)
	defer cancel()
	began := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := p.standby.remove(ctx, p.kinds["nullVolume"], "nullVolumes/nothing")
		if err == nil {
			p.t.Logf("taken over after %v", time.Since(began).Round(time.Millisecond))
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("not taken over within %v: %v", within, err)
		}
	}
	p.client = p.standby
	must(p.t, p.settled())
	must(p.t, p.standing())
}

// TestStandbyTakesOverFromTheDead kills the leader; nothing that it acknowledged may be lost.
func TestStandbyTakesOverFromTheDead(t *testing.T) {
	p := newPair(t)
	if err := p.standby.remove(t.Context(), p.kinds["nullVolume"], "nullVolumes/null-1"); err == nil {
		t.Error("the standby has taken a mutation while the leader lived")
	}
	p.bridge.Kill()
	p.takenOver(takeoverOfDead)
}

// TestThawedLeaderDoesNothing freezes the leader in the middle of a create, with the intent in the
// store and before the data plane is touched. The standby finishes the create; the old leader, thawed,
// changes neither store nor data plane, and ends.
func TestThawedLeaderDoesNothing(t *testing.T) {
	p := newPair(t)
	late := built{"mallocVolume", "mallocVolumes/late-1", fixed(&pb.MallocVolume{BlockSize: 512, BlocksCount: 2048})}
	// Message 2 is the store's answer to the intent.
	p.gate.arm(2, false, false)
	answer := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), callTime)
		defer cancel()
		_, err := p.leader.create(ctx, p.kinds[late.kind], late.name, late.message(p.rig))
		answer <- err
	}()
	<-p.gate.reached
	p.bridge.Pause()
	p.gate.disarm()
	p.takenOver(takeoverOfFrozen)
	finished, err := p.get(p.kinds[late.kind], late.name)
	if err != nil || finished == nil {
		t.Fatalf("the new leader has not finished what was asked for: %v, %v", finished, err)
	}
	before, err := p.records.Load(t.Context())
	must(t, err)

	p.gate.arm(0, false, false)
	p.bridge.Resume()
	if err := <-answer; err == nil {
		t.Error("the old leader has acknowledged a create that it did not carry out")
	}
	testkit.Eventually(t, "the old leader ends", func() error {
		if p.bridge.Running() {
			return errRunning
		}
		return nil
	})
	if did := p.gate.passed(); slices.ContainsFunc(did, func(label string) bool { return !strings.Contains(label, "redis") }) {
		t.Errorf("the old leader has changed the data plane: %v", did)
	}
	after, err := p.records.Load(t.Context())
	must(t, err)
	for i, d := range before {
		if i >= len(after) || after[i].Name != d.Name || after[i].Revision != d.Revision {
			t.Errorf("%s was changed in the store after the new leader had begun", d.Name)
		}
	}
	must(t, p.settled())
	if now, err := p.get(p.kinds[late.kind], late.name); err != nil || now == nil {
		t.Errorf("what the new leader had finished is gone: %v", err)
	}
}

// TestLateCallOfFrozenLeader freezes the leader with a deletion on its way to the data plane, and lets
// that arrive after the new leader has finished the deletion and made the volume anew.
func TestLateCallOfFrozenLeader(t *testing.T) {
	p := newPair(t)
	b := memory("late-1")
	p.build(b)
	p.known = append(p.known, b.name)
	delete(p.made, b.name)
	// Messages 1 and 2 are the intent and its answer.
	p.gate.arm(3, false, false)
	answer := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), callTime)
		defer cancel()
		answer <- p.leader.remove(ctx, p.kinds[b.kind], b.name)
	}()
	<-p.gate.reached
	p.bridge.Pause()
	p.takenOver(takeoverOfFrozen)
	p.build(b)
	p.gate.disarm()
	testkit.Eventually(t, "the late call arrives", func() error {
		if !strings.Contains(p.second.Output(), "drift found") {
			return errors.New("no drift found")
		}
		return nil
	})
	must(t, p.settled())
	must(t, p.standing())
	p.bridge.Resume()
	<-answer // whatever it is, it is about a volume that is no more
	must(t, p.settled())
	must(t, p.standing())
}

// TestUpgradeHandsTheLeaseOver: a leader that ends in order leaves the lease to the standby at once.
func TestUpgradeHandsTheLeaseOver(t *testing.T) {
	p := newPair(t)
	p.bridge.Stop() // in order: the lease is given up, not left to run out
	p.takenOver(takeoverOfDead)
	holder, err := redis.New(redis.Config{URL: "redis://" + p.redis.Addr() + "/0", Instance: instance})
	must(t, err)
	defer func() { _ = holder.Close() }()
	if _, err := holder.Acquire(t.Context(), "somebody else", time.Second); err == nil {
		t.Error("the new leader does not hold the lease")
	}
}
