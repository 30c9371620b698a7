// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

const theDisk = "nvmeSubsystems/web-1/nvmeNamespaces/disk-1"

// await waits until a resource's condition is as check wants it.
func (r *rig) await(what string, name resource.Name, check func(engine.Condition) bool) {
	r.t.Helper()
	testkit.Eventually(r.t, what, func() error {
		r.eng.Audit()
		c, err := r.eng.Condition(name)
		if err == nil && !check(c) {
			err = fmt.Errorf("%s is %+v", name, c)
		}
		return err
	})
}

// stranger returns somebody else's hands on the data plane.
func (r *rig) stranger() *spdk.Driver {
	r.t.Helper()
	d, err := spdk.New(spdk.Config{Network: "unix", Address: r.dataPlane.Socket(), Log: slog.New(slog.DiscardHandler)})
	must(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); <-done })
	testkit.Eventually(r.t, "somebody else is connected", func() error { return d.Status().Err })
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsBuiltOnWhatIsNotOurs has somebody put another bdev and another subsystem in the places
// of ours: no host may find another's data under our disk's name.
func TestNothingIsBuiltOnWhatIsNotOurs(t *testing.T) {
	r := newRig(t, nil)
	r.buildDisk()
	vol := r.there()[driver.BdevKey("vol-1")]
	other := &driver.Bdev{Name: "vol-1", Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 4096, UUID: "aaaaaaaa-0000-4000-8000-000000000009"}
	// The bridge must not be faster than the exchange.
	r.stop()
	r.dataPlane.Restart()
	somebody := r.stranger()
	must(t, errors.Join(somebody.Apply(t.Context(), []driver.Step{{Op: driver.Create, Object: other}})...))
	r.launch()
	reported := func(text string) func(engine.Condition) bool {
		return func(c engine.Condition) bool { return c.Err != nil && strings.Contains(c.Err.Error(), text) }
	}
	r.await("the volume is reported", "nullVolumes/vol-1", reported("another bdev vol-1 that the bridge did not make"))
	r.await("and so is its namespace", theDisk, reported("nullVolumes/vol-1 cannot be used"))
	if o := r.there(); o[driver.NamespaceKey(testNQN, 1)] != nil || o[driver.BdevKey("vol-1")].(*driver.Bdev).UUID != other.UUID {
		t.Errorf("the data plane has %v", o)
	}
	if err := r.remove("nvmeNamespaces", theDisk); err != nil {
		t.Errorf("delete of what cannot be built: %v", err)
	}
	if err := r.remove("nullVolumes", "nullVolumes/vol-1"); err != nil {
		t.Errorf("delete of what somebody else has taken the place of: %v", err)
	}
	if r.there()[driver.BdevKey("vol-1")] == nil {
		t.Errorf("the bdev that took the place of %v was deleted", vol)
	}
}

// TestRepairsAreCounted says who was repaired, and how often.
func TestRepairsAreCounted(t *testing.T) {
	r := newRig(t, nil)
	r.buildDisk()
	const key = "namespace " + testNQN + " 1"
	for n := range uint64(2) {
		r.behind(driver.Delete, r.there()[driver.NamespaceKey(testNQN, 1)])
		r.await("repair", theDisk, func(c engine.Condition) bool {
			return c.Err == nil && c.Repairs.Count == n+1 && c.Repairs.What == "create "+key && !c.Repairs.Last.IsZero()
		})
	}
	if d := r.eng.Status().Drift; len(d) != 1 || d[driver.TypeNamespace] != 2 {
		t.Errorf("counted are %v", d)
	}
	if err := r.remove("nvmeNamespaces", theDisk); err != nil {
		t.Fatal(err)
	}
	r.mustCreate("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-1", namespace("nullVolumes/vol-1"))
	r.await("another of the same name", theDisk, func(c engine.Condition) bool { return c.Err == nil && c.Repairs == engine.Repairs{} })
}

// TestWhatOthersPutIntoOursIsShown has somebody use our objects: that is shown and left alone.
func TestWhatOthersPutIntoOursIsShown(t *testing.T) {
	r := newRig(t, nil)
	r.buildDisk()
	r.mustCreate("mallocVolumes", "", "vol-2", &pb.MallocVolume{BlockSize: 512, BlocksCount: 64})
	const uuid, nguid = "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa000040008000000000000001"
	theirs := []driver.Object{
		&driver.Host{Subsystem: testNQN, NQN: "nqn.2024-01.io.example:their-host"},
		&driver.Namespace{Subsystem: testNQN, NSID: 7, Bdev: "vol-2", UUID: uuid, NGUID: nguid},
		&driver.Limits{Bdev: "vol-1", MiBs: 3},
	}
	for _, o := range theirs {
		r.behind(driver.Create, o)
	}
	r.await("the subsystem's", "nvmeSubsystems/web-1", func(c engine.Condition) bool {
		return c.Err == nil && slices.Equal(c.Foreign, []string{"host " + testNQN + " nqn.2024-01.io.example:their-host", "namespace " + testNQN + " 7"})
	})
	r.await("the volume's", "mallocVolumes/vol-2", func(c engine.Condition) bool { return len(c.Foreign) == 1 })
	r.await("the other volume's", "nullVolumes/vol-1", func(c engine.Condition) bool {
		return len(c.Foreign) == 1 && c.Foreign[0] == "limits vol-1"
	})
	if s := r.eng.Status(); s.Foreign[driver.TypeHost] != 1 || s.Foreign[driver.TypeNamespace] != 1 || s.Foreign[driver.TypeLimits] != 1 || len(s.Drift) > 0 {
		t.Errorf("counted are %v, and as drift %v", s.Foreign, s.Drift)
	}
	for _, o := range theirs {
		if r.there()[o.Key()] == nil {
			t.Errorf("%s was taken away", o.Key())
		}
		r.behind(driver.Delete, o)
	}
	r.await("nothing any more", "nvmeSubsystems/web-1", func(c engine.Condition) bool { return len(c.Foreign) == 0 })
}
