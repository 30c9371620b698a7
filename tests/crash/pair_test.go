// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// leaseTime is the longest that a dead leader keeps the lease. Together with how often a standby asks,
// which the bridge's own tests look at, it makes that one takes over within 5 s, whatever the leader
// has died of: so this, and no clock, is what is checked here. How long it really took is logged.
const leaseTime = 3 * time.Second

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
	must(t, r.settled()) // what goes past the gate from now on is what the test does
	second := testkit.Bridge(testkit.WithoutRace(t), testkit.BridgeConfig{
		SPDK: r.dataPlane.Addr(), Store: "redis://" + r.redis.Addr() + "/0", Instance: instance, WaitFor: "/healthz",
		Flags: r.flags(),
	})
	return &pair{rig: r, leader: r.client, standby: dial(t, second.GRPCAddr()), second: second}
}

// takenOver waits until the standby takes mutations, and checks that nothing is lost.
func (p *pair) takenOver() {
	p.t.Helper()
	if left := p.leaseLeft(); left > leaseTime {
		p.t.Errorf("the lease lasts for another %v, want %v at most", left, leaseTime)
	}
	began := time.Now()
	testkit.Eventually(p.t, "the standby takes over", func() error {
		return p.standby.remove(p.t.Context(), p.kinds["nullVolume"], "nullVolumes/nothing")
	})
	p.t.Logf("taken over after %v", time.Since(began).Round(time.Millisecond))
	p.client = p.standby
	must(p.t, p.settled())
	must(p.t, p.standing())
}

// leaseLeft asks Redis how long the lease lasts if it is not renewed.
func (p *pair) leaseLeft() time.Duration {
	p.t.Helper()
	const script = "local t=redis.call('TIME') return redis.call('HGET',KEYS[1],'until_ms')-(t[1]*1000+math.floor(t[2]/1000))"
	left, err := strconv.Atoi(p.redis.CLI("EVAL", script, "1", "opi-bridge:{"+instance+"}:lease"))
	must(p.t, err)
	return time.Duration(left) * time.Millisecond
}

// TestStandbyTellsWhomItWaitsFor: whoever asks the standby learns which bridge to ask instead.
func TestStandbyTellsWhomItWaitsFor(t *testing.T) {
	p := newPair(t)
	k, name := p.kinds["nullVolume"], resource.Name("nullVolumes/null-1")
	for what, ask := range map[string]func() error{
		"a change": func() error { return p.standby.remove(t.Context(), k, name) },
		"a read":   func() error { _, err := p.standby.get(t.Context(), k, name); return err },
	} {
		testkit.Eventually(t, what+" is answered with the name of the leader", func() error {
			s := status.Convert(ask())
			var leader string
			for _, d := range s.Details() {
				if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() == "LEASE_HELD" {
					leader = info.GetMetadata()["holder"]
				}
			}
			if s.Code() != codes.Unavailable || !strings.HasSuffix(leader, p.bridge.GRPCAddr()) || !strings.Contains(s.Message(), leader) {
				return fmt.Errorf("the answer is %w, with %q as the leader, want %s", s.Err(), leader, p.bridge.GRPCAddr())
			}
			return nil
		})
	}
	must(t, p.settled()) // and nothing has happened
}

// TestTakeoverUnderLoad ends the leader while clients create and delete through it. What it has
// acknowledged holds; a leader that was frozen then finds that it is none any more, and ends.
func TestTakeoverUnderLoad(t *testing.T) {
	for what, end := range map[string]func(*testkit.BridgeProcess){
		"killed": (*testkit.BridgeProcess).Kill, "frozen": (*testkit.BridgeProcess).Pause, "stopped": (*testkit.BridgeProcess).Stop,
	} {
		t.Run(what, func(t *testing.T) {
			p := newPair(t)
			b := p.beginBurst(4)
			b.acked(t, 100)
			end(p.bridge)
			p.takenOver()
			if p.bridge.Running() {
				before := p.revisions()
				p.bridge.Resume()
				p.ended()
				if after := p.revisions(); !maps.Equal(before, after) {
					t.Errorf("the records were %v and are %v after the old leader went on", before, after)
				}
			}
			for name, want := range b.end() {
				if got, err := p.get(p.kinds["nullVolume"], name); err != nil || (got != nil) != want {
					t.Errorf("%s: acknowledged that it exists: %v; now there is %v, %v", name, want, got, err)
				}
			}
			must(t, p.settled())
			must(t, p.standing())
		})
	}
}

// pauseAt freezes the leader at the message for which the gate is armed.
func (p *pair) pauseAt(message string) {
	p.t.Helper()
	reached := <-p.gate.reached
	p.bridge.Pause()
	if reached != message {
		p.t.Fatalf("the leader was frozen at %q, want %q", reached, message)
	}
}

// ended waits until the old leader has ended by itself.
func (p *pair) ended() {
	p.t.Helper()
	testkit.Eventually(p.t, "the old leader ends", func() error {
		if p.bridge.Running() {
			return errRunning
		}
		return nil
	})
}

// revisions returns those of all records.
func (p *pair) revisions() map[string]uint64 {
	p.t.Helper()
	docs, err := p.records.Load(p.t.Context())
	must(p.t, err)
	all := map[string]uint64{}
	for _, d := range docs {
		all[d.Name] = d.Revision
	}
	return all
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
		_, err := p.leader.Create(ctx, p.kinds[late.kind], late.name, late.message(p.rig))
		answer <- err
	}()
	p.pauseAt("reply to redis commit of " + string(late.name))
	p.gate.disarm()
	p.takenOver()
	finished, err := p.get(p.kinds[late.kind], late.name)
	if err != nil || finished == nil {
		t.Fatalf("the new leader has not finished what was asked for: %v, %v", finished, err)
	}
	before := p.revisions()

	p.gate.arm(0, false, false)
	p.bridge.Resume()
	if err := <-answer; err == nil {
		t.Error("the old leader has acknowledged a create that it did not carry out")
	}
	p.ended()
	if did := p.gate.passed(); slices.ContainsFunc(did, func(label string) bool { return !strings.Contains(label, "redis") }) {
		t.Errorf("the old leader has changed the data plane: %v", did)
	}
	if after := p.revisions(); !maps.Equal(before, after) {
		t.Errorf("the records were %v and are %v after the old leader went on", before, after)
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
	p.pauseAt("request bdev_malloc_delete")
	p.takenOver()
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
	if left := p.leaseLeft(); left > 0 && !strings.Contains(p.second.Output(), "lease acquired") {
		t.Errorf("the lease that was given up lasts for another %v", left)
	}
	p.takenOver()
	holder, err := redis.New(redis.Config{URL: "redis://" + p.redis.Addr() + "/0", Instance: instance})
	must(t, err)
	defer func() { _ = holder.Close() }()
	if _, err := holder.Acquire(t.Context(), "somebody else", time.Second); err == nil {
		t.Error("the new leader does not hold the lease")
	}
}

// TestCutOffLeaderDoesNothing cuts the leader off from Redis for good, with standby and data plane in its
// reach. It cannot find out that it was replaced; knowing of a standby it answers nothing and leaves the
// data plane alone, whatever changes there.
func TestCutOffLeaderDoesNothing(t *testing.T) {
	p := newPair(t)
	gone, k := memory("gone-1"), p.kinds["mallocVolume"]
	p.build(gone)
	p.known = append(p.known, gone.name)
	delete(p.made, gone.name)
	testkit.Eventually(t, "the leader knows of the standby", func() error {
		if asked := p.redis.CLI("HGET", "opi-bridge:{"+instance+"}:lease", "asked_until_ms"); asked == "0" || asked == "" {
			return errors.New("nobody has asked for the lease")
		}
		return nil
	})
	// The next renewal tells it. A renewal is seen by when the lease ends.
	const end = "until_ms"
	before := p.redis.CLI("HGET", "opi-bridge:{"+instance+"}:lease", end)
	for range 2 {
		testkit.Eventually(t, "the lease is renewed", func() error {
			if now := p.redis.CLI("HGET", "opi-bridge:{"+instance+"}:lease", end); now == before {
				return errors.New("not yet")
			}
			return nil
		})
		before = p.redis.CLI("HGET", "opi-bridge:{"+instance+"}:lease", end)
	}
	must(t, p.stProxy.listener.Close())
	p.stProxy.cut()
	p.takenOver()

	p.gate.arm(0, false, false)
	// The cut-off leader is told by the data plane that the volume is gone, and has it in its records.
	must(t, p.client.remove(t.Context(), k, gone.name))
	testkit.Eventually(t, "the cut-off leader answers no reads", func() error {
		if _, err := p.leader.get(t.Context(), k, gone.name); status.Code(err) != codes.Unavailable {
			return fmt.Errorf("it answers %w", err)
		}
		return nil
	})
	testkit.Eventually(t, "the cut-off leader has looked and left it", func() error {
		if !strings.Contains(p.bridge.Output(), "another one waits for its lease") {
			return errors.New("it has not tried to put the volume back")
		}
		return nil
	})
	if did := p.gate.passed(); len(did) > 0 {
		t.Errorf("the cut-off leader has sent: %v", did)
	}
	must(t, p.settled())
	must(t, p.standing())
}
