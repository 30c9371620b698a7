// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// next returns the next event of one of the kinds, dropping others.
func (b *bench) next(kinds ...driver.EventKind) driver.EventKind {
	b.t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	for {
		select {
		case e := <-b.Driver.Events():
			if slices.Contains(kinds, e.Kind) {
				return e.Kind
			}
		case <-end.C:
			b.t.Fatalf("no event of kinds %v", kinds)
		}
	}
}

// restart kills the data plane and starts an empty one, to which the driver is connected afterwards. That
// it was connected to the old one does not count: it may not have noticed yet.
func (b *bench) restart() {
	b.t.Helper()
	before := b.Driver.Status().Epoch
	b.Kill()
	b.Start()
	b.eventually("the driver is connected", func() bool {
		s := b.Driver.Status()
		return s.Up && s.Epoch != before
	})
}

// testRestart takes the data plane away and brings an empty one back.
func testRestart(t *testing.T, s Suite) {
	b := s.bench(t)
	b.next(driver.EventUp)
	before := b.Driver.Status()
	if before.Version == "" || before.Err != nil || before.Epoch == 0 {
		t.Errorf("status %+v", before)
	}
	m := malloc("m")
	b.must(driver.Create, m)
	o, err := b.Driver.Observe(t.Context())
	if err != nil || o.Epoch != before.Epoch {
		t.Fatalf("observation %+v, %v", o, err)
	}
	b.Kill()
	if got := b.next(driver.EventUp, driver.EventDown); got != driver.EventDown {
		t.Errorf("event %v", got)
	}
	if down := b.Driver.Status(); down.Up || down.Err == nil {
		t.Errorf("status %+v", down)
	}
	b.refused(errdefs.Unavailable, driver.Step{Op: driver.Create, Object: m})
	b.refused(errdefs.Unavailable, driver.Step{Op: driver.Delete, Object: m})
	if _, err := b.Driver.Observe(t.Context()); !errors.Is(err, errdefs.Unavailable) {
		t.Errorf("observe while away: %v", err)
	}
	b.Start()
	b.next(driver.EventUp)
	after := b.Driver.Status()
	if !after.Up || after.Epoch <= before.Epoch || after.Err != nil {
		t.Errorf("status %+v after %+v", after, before)
	}
	b.lacks(m)
	b.must(driver.Create, m)
	b.serves(m)
}

// testFreeze gives a step up while the data plane does not answer: nobody can know whether it was
// done.
func testFreeze(t *testing.T, s Suite) {
	b := s.bench(t)
	m, n := malloc("m"), malloc("n")
	b.must(driver.Create, m)
	b.Freeze()
	b.eventually("the data plane has come to a stop", func() bool {
		soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := b.Driver.Observe(soon)
		return err != nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	outcome := make(chan error, 1)
	go func() { outcome <- b.Driver.Apply(ctx, []driver.Step{{Op: driver.Create, Object: n}})[0] }()
	observed := make(chan error, 1)
	go func() {
		_, err := b.Driver.Observe(ctx)
		observed <- err
	}()
	// Given up before or after they were written: both errors are honest, success is not.
	<-time.After(10 * time.Millisecond)
	cancel()
	for _, err := range []error{<-outcome, <-observed} {
		if class := errdefs.ClassOf(err); class != errdefs.OutcomeUnknown && class != errdefs.Canceled {
			t.Errorf("given up: %v", err)
		}
	}
	if err := b.Driver.Apply(ctx, []driver.Step{{Op: driver.Delete, Object: m}})[0]; errdefs.ClassOf(err) != errdefs.Canceled {
		t.Errorf("with a context that has ended: %v", err)
	}
	b.Thaw()
	b.serves(m)
	// Whatever became of it, it can be made, or adopted.
	if err := b.apply(driver.Step{Op: driver.Create, Object: n, Adopt: true})[0]; err != nil {
		t.Errorf("adopt: %v", err)
	}
	b.serves(n)
}

// testChanges hears of what somebody else does.
func testChanges(t *testing.T, s Suite) {
	b := s.bench(t)
	b.next(driver.EventUp)
	m := malloc("m")
	b.must(driver.Create, m)
	b.next(driver.EventChanged)
	b.must(driver.Delete, m)
	b.next(driver.EventChanged)
	// A slow consumer is told less often: however much has happened, few events wait.
	for range 3 {
		b.must(driver.Create, m)
		b.next(driver.EventChanged)
		b.must(driver.Delete, m)
	}
	b.next(driver.EventChanged)
}
