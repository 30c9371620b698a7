// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// limit carries out an update to the limits from what is there.
func (b *bench) limit(to *driver.Limits) error {
	b.t.Helper()
	return b.apply(driver.Step{Op: driver.Update, Object: to, From: b.observe()[to.Key()]})[0]
}

// testLimits sets, changes and clears the limits of a bdev that nobody uses, again and again, which
// SPDK takes once only.
func testLimits(t *testing.T, s Suite) {
	b := s.bench(t)
	for _, m := range []*driver.Bdev{malloc("m"), null("n")} {
		first := &driver.Limits{Bdev: m.Name, IOPS: 20000}
		b.must(driver.Create, m)
		b.lacks(first)
		for range 2 {
			b.must(driver.Create, first)
			b.serves(first)
			b.refused(errdefs.AlreadyExists, driver.Step{Op: driver.Create, Object: first}, first.Key().String())
			if err := b.apply(driver.Step{Op: driver.Create, Object: first, Adopt: true})[0]; err != nil {
				t.Errorf("adopt: %v", err)
			}
			for _, to := range []*driver.Limits{
				{Bdev: m.Name, IOPS: 1000, MiBs: 40, ReadMiBs: 20, WriteMiBs: 30},
				{Bdev: m.Name, WriteMiBs: 1},
				{Bdev: m.Name, ReadMiBs: 7, IOPS: 5000},
			} {
				if err := b.limit(to); err != nil {
					t.Fatalf("limits of %s to %+v: %v", m.Name, to, err)
				}
				b.serves(to, m)
			}
			if got, ok := b.observe()[m.Key()].(*driver.Bdev); !ok || got.Claimed {
				t.Errorf("after a change somebody has it: %+v", got)
			}
			b.must(driver.Delete, first)
			b.must(driver.Delete, first)
			b.lacks(first)
		}
		for key := range b.observe() {
			if key.Type == driver.TypeSubsystem || key.Type == driver.TypeNamespace {
				t.Errorf("%s is observed", key)
			}
		}
		b.must(driver.Create, first)
		b.must(driver.Delete, m)
		b.lacks(m, first)
		b.must(driver.Delete, first)
	}
	// Forgotten with everything else.
	m := malloc("again")
	l := &driver.Limits{Bdev: m.Name, ReadMiBs: 3}
	b.must(driver.Create, m)
	b.must(driver.Create, l)
	b.restart()
	b.must(driver.Create, m)
	b.lacks(l)
	b.must(driver.Create, l)
	b.serves(m, l)
}

// testLimitsInUse changes the limits of a namespace.
func testLimitsInUse(t *testing.T, s Suite) {
	b := s.bench(t)
	m, sub := malloc("m"), subsystem("s")
	ns := namespace(sub, 1, m)
	l := &driver.Limits{Bdev: m.Name, IOPS: 1000}
	for _, o := range []driver.Object{m, l, sub, ns} {
		b.must(driver.Create, o)
	}
	for _, to := range []*driver.Limits{{Bdev: m.Name, MiBs: 9}, l} {
		if err := b.limit(to); err != nil {
			t.Error(err)
		}
		b.serves(to, m, sub, ns)
	}
	b.must(driver.Delete, ns)
	b.serves(l)
	if err := b.limit(&driver.Limits{Bdev: m.Name, MiBs: 5}); err != nil {
		t.Errorf("after the namespace: %v", err)
	}
	b.must(driver.Delete, l)
	b.lacks(l)
}

// testLimitsTogether changes limits at the same time as others take the bdev, and many at once.
func testLimitsTogether(t *testing.T, s Suite) {
	const rounds = 10
	b := s.bench(t)
	m, sub := malloc("m"), subsystem("s")
	l := &driver.Limits{Bdev: m.Name, IOPS: 1000}
	for _, o := range []driver.Object{m, l, sub} {
		b.must(driver.Create, o)
	}
	for i := range uint32(rounds) {
		ns := namespace(sub, 1+i%2, m)
		to := &driver.Limits{Bdev: m.Name, IOPS: 2000 + 1000*uint64(i)}
		for i, err := range b.apply(
			driver.Step{Op: driver.Update, Object: to, From: l},
			driver.Step{Op: driver.Create, Object: ns},
		) {
			if err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
		}
		b.serves(to, ns)
		b.must(driver.Delete, ns)
	}
	var steps []driver.Step
	var wanted []driver.Object
	for range 40 {
		n := malloc("many-" + m.UUID[:4] + string(rune('A'+len(steps)/3)))
		first := &driver.Limits{Bdev: n.Name, IOPS: 1000}
		then := &driver.Limits{Bdev: n.Name, MiBs: 2}
		at := len(steps)
		steps = append(steps,
			driver.Step{Op: driver.Create, Object: n},
			driver.Step{Op: driver.Create, Object: first, After: []int{at}},
			driver.Step{Op: driver.Update, Object: then, From: first, After: []int{at + 1}})
		wanted = append(wanted, n, then)
	}
	for i, err := range b.apply(steps...) {
		if err != nil {
			t.Errorf("%s %s: %v", steps[i].Op, steps[i].Object.Key(), err)
		}
	}
	b.serves(wanted...)
}

// testLimitsBelowCrypto changes the limits of a bdev whose only user is used by nobody.
func testLimitsBelowCrypto(t *testing.T, s Suite) {
	b := s.bench(t)
	base, key := malloc("base"), volumeKey("key", 16)
	c := encrypted("c", base, key)
	for _, o := range []driver.Object{base, key, c} {
		b.must(driver.Create, o)
	}
	for _, bdev := range []string{base.Name, c.Name} {
		l := &driver.Limits{Bdev: bdev, IOPS: 1000}
		b.must(driver.Create, l)
		for _, to := range []*driver.Limits{{Bdev: bdev, MiBs: 9}, l} {
			if err := b.limit(to); err != nil {
				t.Errorf("limits of %s: %v", bdev, err)
			}
			b.serves(to)
		}
	}
	b.serves(base, key, c)
	b.must(driver.Delete, &driver.Limits{Bdev: base.Name})
	b.must(driver.Delete, &driver.Limits{Bdev: c.Name})
	b.must(driver.Delete, c)
	b.must(driver.Delete, key)
}

// testLimitsRefusals sets what cannot be set.
func testLimitsRefusals(t *testing.T, s Suite) {
	b := s.bench(t)
	create := func(l *driver.Limits) driver.Step { return driver.Step{Op: driver.Create, Object: l, Adopt: true} }
	m := malloc("m")
	b.must(driver.Create, m)
	b.refused(errdefs.NotFound, create(&driver.Limits{Bdev: "nosuch", IOPS: 1000}), "nosuch")
	b.refused(errdefs.NotFound, driver.Step{Op: driver.Update, Object: &driver.Limits{Bdev: "nosuch", IOPS: 1000}, From: &driver.Limits{Bdev: "nosuch"}}, "nosuch")
	b.must(driver.Delete, &driver.Limits{Bdev: "nosuch"})
	b.refused(errdefs.InvalidArgument, create(&driver.Limits{Bdev: "m", IOPS: 1500}), "1500", "1000")
	b.refused(errdefs.InvalidArgument, create(&driver.Limits{Bdev: "m", MiBs: 1 << 60}), "m")
	b.refused(errdefs.InvalidArgument, create(&driver.Limits{Bdev: "m"}), "m")
	b.must(driver.Create, &driver.Limits{Bdev: "m", IOPS: 1000})
	b.refused(errdefs.AlreadyExists, create(&driver.Limits{Bdev: "m", MiBs: 5}), "rw_mbytes_per_sec")
}
