// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// testTwinPaths attaches the same path many times at once: SPDK would make as many controllers.
func testTwinPaths(t *testing.T, s Suite) {
	node, b := s.storage(t, 1), s.bench(t)
	node.export(1)
	const twins = 8
	steps := make([]driver.Step, twins)
	for i := range steps {
		steps[i] = driver.Step{Op: driver.Create, Object: node.path("twin", 0), Adopt: i%2 == 0}
	}
	made := 0
	for i, err := range b.apply(steps...) {
		switch {
		case err == nil && i%2 == 1:
			made++
		case err != nil && (i%2 == 0 || !errors.Is(err, errdefs.AlreadyExists)):
			t.Errorf("twin %d: %v", i, err)
		}
	}
	if made > 1 {
		t.Errorf("%d made the same path", made)
	}
	if n := node.hosts(0); n != 1 {
		t.Errorf("%d controllers at the target", n)
	}
	// One whose caller gave up goes on, and the next waits for it.
	b.must(driver.Delete, node.path("twin", 0))
	ctx, cancel := context.WithCancel(t.Context())
	outcome := make(chan []error, 1)
	go func() { outcome <- b.Driver.Apply(ctx, steps[:1]) }()
	<-time.After(time.Millisecond)
	cancel()
	<-outcome
	if err := b.apply(steps[0])[0]; err != nil {
		t.Errorf("after one that was given up: %v", err)
	}
	b.eventually("one controller is left", func() bool { return node.hosts(0) == 1 })
}

// testNSIDReuse removes a namespace and makes another one of the same id at once: a host that is
// connected must see the new one, not the old one's identity.
func testNSIDReuse(t *testing.T, s Suite) {
	node, b := s.storage(t, 1), s.bench(t)
	_, old := node.export(3)
	b.must(driver.Create, node.path("c", 0))
	b.eventually("the namespace is there", func() bool { return b.bdevOf("c", 3) != nil })
	vol := malloc("new")
	ns := namespace(node.sub, 3, vol)
	errs := node.apply(
		driver.Step{Op: driver.Create, Object: vol},
		driver.Step{Op: driver.Delete, Object: old},
		driver.Step{Op: driver.Create, Object: ns, After: []int{0, 1}},
	)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	b.eventually("the host sees the new namespace", func() bool {
		got := b.bdevOf("c", 3)
		return got != nil && compact(got.UUID) == compact(ns.NGUID)
	})
}

// testPathStats reads the counters of paths.
func testPathStats(t *testing.T, s Suite) {
	node, b := s.storage(t, 1), s.bench(t)
	statter, ok := b.Driver.(driver.Statter)
	if !ok {
		t.Fatal("the driver has no counters")
	}
	p := node.path("c", 0)
	b.must(driver.Create, p)
	if got, err := statter.Stats(t.Context(), []driver.Key{p.Key()}); err != nil || len(got) != 1 || got[0].ReadOps != 0 {
		t.Errorf("without namespaces: %+v, %v", got, err)
	}
	node.export(1)
	b.eventually("the namespace is there", func() bool { return b.bdevOf("c", 1) != nil })
	got, err := statter.Stats(t.Context(), []driver.Key{p.Key(), driver.BdevKey("cn1")})
	if err != nil || len(got) != 2 || got[0].TickRate == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := statter.Stats(t.Context(), []driver.Key{node.path("nosuch", 0).Key()}); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("an unknown path: %v", err)
	}
}

// testWriteCache: SPDK since v26.09 keeps connected hosts from seeing a write cache appear. The refusal
// says so.
func testWriteCache(t *testing.T, s Suite) {
	node, b := s.storage(t, 1), s.bench(t)
	n, m := null("n"), malloc("m")
	node.must(driver.Create, n)
	node.must(driver.Create, m)
	node.must(driver.Create, namespace(node.sub, 1, n))
	b.must(driver.Create, node.path("c", 0))
	cached := namespace(node.sub, 2, m)
	if s.CacheMayCome {
		node.must(driver.Create, cached)
		node.serves(cached)
		return
	}
	node.refused(errdefs.FailedPrecondition, driver.Step{Op: driver.Create, Object: cached}, "m", "has a write cache")
	b.must(driver.Delete, node.path("c", 0))
	node.eventually("the host has gone", func() bool { return node.hosts(0) == 0 })
	node.must(driver.Create, namespace(node.sub, 2, m))
}

// testFailover attaches two paths of which one waits for the other to fail.
func testFailover(t *testing.T, s Suite) {
	node, b := s.storage(t, 2), s.bench(t)
	node.export(1)
	paths := []*driver.Path{node.path("f", 0), node.path("f", 1)}
	var steps []driver.Step
	for _, p := range paths {
		p.Multipath = driver.MultipathFailover
		steps = append(steps, driver.Step{Op: driver.Create, Object: p})
	}
	// Both at once: the second must find the controller that the first makes.
	if err := errors.Join(b.apply(steps...)...); err != nil {
		t.Fatal(err)
	}
	b.serves(paths[0], paths[1])
	states := map[string]*driver.Path{}
	for _, p := range paths {
		if got, ok := b.observe()[p.Key()].(*driver.Path); ok {
			states[got.State] = p
		}
	}
	active, spare := states["enabled"], states["alternate"]
	if active == nil || spare == nil {
		t.Fatalf("states of a failover pair: %v", states)
	}
	b.refused(errdefs.AlreadyExists, driver.Step{Op: driver.Create, Object: spare}, spare.Key().String())
	if err := b.apply(driver.Step{Op: driver.Create, Object: spare, Adopt: true})[0]; err != nil {
		t.Errorf("adopt: %v", err)
	}
	b.must(driver.Delete, spare)
	b.lacks(spare)
	b.serves(active)
	if b.bdevOf("f", 1) == nil {
		t.Error("the bdev is gone with the spare path")
	}
	b.must(driver.Create, spare)
	b.serves(active, spare)
	for _, p := range []*driver.Path{spare, active} {
		b.must(driver.Delete, p)
	}
	b.lacks(active, spare)
	if b.bdevOf("f", 1) != nil {
		t.Error("the bdev is there after the last path")
	}
}
