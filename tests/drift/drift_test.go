// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

// TestDrift goes through the table on one bridge, in a data plane full of other people's objects,
// beside a host that does I/O through it all.
func TestDrift(t *testing.T) {
	r := newRig(t)
	r.fillWithForeign()
	theirs := r.foreignObjects()
	r.build()
	testkit.Eventually(t, "everything is made", r.whole)
	// A full-speed load would leave nothing for the rest on a small machine.
	r.far.do("bdev_set_qos_limit", `{"name":"s1","rw_ios_per_sec":1000}`)
	stop := r.verifiedIO(openNQN, r.near[1])
	eye := r.eye()
	before := r.look(eye)
	for _, row := range r.table() {
		if !r.play(eye, &row, before) {
			return // what is not as it was would fail every further row
		}
	}
	stop()
	r.accessible()
	r.counted()
	r.untouched("repairs", theirs)

	r.bridge.Restart()
	testkit.Eventually(t, "everything is as wanted after a restart of the bridge", r.whole)
	r.untouched("a restart of the bridge", theirs)
	r.bridge.Kill()
	r.dataPlane.Restart()
	r.fillWithForeign()
	theirs = r.foreignObjects() // cntlids, say, are new
	r.bridge.Start()
	testkit.Eventually(t, "everything is as wanted after a restart of the data plane", r.whole)
	r.untouched("a restart of the data plane", theirs)
	for _, name := range everything() {
		r.must(r.remove(name))
	}
	r.untouched("all deletions", theirs)
	for key := range r.look(eye) {
		if !strings.Contains(key.ID, "theirs") {
			t.Errorf("%s is left when all is deleted", key)
		}
	}
}

// eye returns somebody who only looks.
func (r *rig) eye() *spdk.Driver {
	r.t.Helper()
	d, err := spdk.New(spdk.Config{Network: "unix", Address: r.dataPlane.Socket(), Log: slog.New(slog.DiscardHandler)})
	r.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); <-done })
	return d
}

// look returns what the data plane holds, without what changes by itself.
func (r *rig) look(eye *spdk.Driver) map[driver.Key]driver.Object {
	r.t.Helper()
	var o *driver.Observation
	testkit.Eventually(r.t, "the data plane answers", func() (err error) {
		o, err = eye.Observe(r.t.Context())
		return err
	})
	for key, object := range o.Objects {
		if p, ok := object.(*driver.Path); ok {
			plain := *p
			plain.State = ""
			o.Objects[key] = &plain
		}
	}
	return o.Objects
}

// play makes the change of a row and checks what comes of it.
func (r *rig) play(eye *spdk.Driver, row *row, before map[driver.Key]driver.Object) (ok bool) {
	return r.t.Run(row.kind+" "+row.change, func(t *testing.T) {
		outer := r.t
		r.t, r.hand.t, r.far.t = t, t, t
		defer func() { r.t, r.hand.t, r.far.t = outer, outer, outer }()
		repairs := map[string]uint64{}
		for _, name := range row.repaired {
			s, err := r.resource(name)
			r.must(err)
			repairs[name] = s.GetRepairCount()
		}
		r.change(row)
		testkit.Eventually(t, "what is to be shown", func() error {
			r.hand.nudge()
			return r.shown(row, repairs)
		})
		if row.unmore != nil {
			row.unmore(r)
		}
		r.hand.do(row.undo...)
		testkit.Eventually(t, "everything is as it was", func() error {
			r.hand.nudge()
			now := r.look(eye)
			return errors.Join(r.whole(), r.nothingShown(row), differences(before, now))
		})
	})
}

// change makes the change. The bridge may be quick enough to repair the first half before the second is
// made, so those of several calls are tried until they get through.
func (r *rig) change(row *row) {
	r.t.Helper()
	if row.more != nil {
		row.more(r)
	}
	testkit.Eventually(r.t, "the change gets through", func() error {
		for i := 0; i < len(row.calls); i += 2 {
			if _, err := r.hand.ask(row.calls[i], row.calls[i+1]); err != nil {
				return err
			}
		}
		return nil
	})
}

// shown checks that every resource shows what the row says, and that no other is hit.
func (r *rig) shown(row *row, repairs map[string]uint64) error {
	var errs []error
	for name, n := range repairs {
		s, err := r.resource(name)
		if err == nil && (s.GetRepairCount() <= n || s.GetLastRepair() == "" || s.GetLastRepairTime() == nil) {
			err = fmt.Errorf("%s was not repaired: %v", name, s)
		}
		errs = append(errs, err)
	}
	for name, words := range row.reported {
		s, err := r.resource(name)
		if err == nil && (s.GetReady() || !strings.Contains(s.GetError(), words) || s.GetErrorCode() == "" || s.GetNotReadySinceTime() == nil) {
			err = fmt.Errorf("%s does not report %q: %v", name, words, s)
		}
		errs = append(errs, err)
	}
	for name, what := range row.foreign {
		s, err := r.resource(name)
		if err == nil && !slices.Contains(s.GetForeignObjects(), what) {
			err = fmt.Errorf("%s does not show %q: %v", name, what, s)
		}
		errs = append(errs, err)
	}
	s, err := r.status()
	if n := s.GetNotReadyCount(); err == nil && n != int64(len(row.reported)) {
		all, listErr := bridgev1.NewBridgeServiceClient(r.conn).ListResourceStatus(r.t.Context(), &bridgev1.ListResourceStatusRequest{NotReadyOnly: true})
		err = errors.Join(listErr, fmt.Errorf("%d resources are not ready, not %d: %v", n, len(row.reported), all.GetResources()))
	}
	return errors.Join(append(errs, err)...)
}

// nothingShown checks that what the row had shown is gone.
func (r *rig) nothingShown(row *row) error {
	for name, what := range row.foreign {
		if s, err := r.resource(name); err != nil || slices.Contains(s.GetForeignObjects(), what) {
			return errors.Join(err, fmt.Errorf("%s still shows %q", name, what))
		}
	}
	return nil
}

// differences says what is not as it was.
func differences(before, now map[driver.Key]driver.Object) error {
	var errs []error
	for key, o := range before {
		if now[key] == nil || len(o.Differences(now[key])) > 0 || key.Type != driver.TypeCryptoKey && !reflect.DeepEqual(o, now[key]) {
			errs = append(errs, fmt.Errorf("%s was %+v, and is %+v", key, o, now[key]))
		}
	}
	for key := range now {
		if before[key] == nil {
			errs = append(errs, fmt.Errorf("%s is new", key))
		}
	}
	return errors.Join(errs...)
}

// counted checks that every type of object that was repaired is in the status and the metrics.
func (r *rig) counted() {
	r.t.Helper()
	s, err := r.status()
	r.must(err)
	metrics, err := r.metrics()
	r.must(err)
	for _, o := range []driver.Type{
		driver.TypeBdev, driver.TypeLimits, driver.TypeCryptoKey, driver.TypePath, driver.TypeSubsystem, driver.TypeHost, driver.TypeListener,
		driver.TypeNamespace, driver.TypeVirtioBlk, driver.TypeVirtioScsi, driver.TypeVirtioScsiTarget, driver.TypeVirtioScsiSocket, driver.TypeTLSKey,
	} {
		series := fmt.Sprintf("opi_bridge_drift_repaired_total{type=%q}", o)
		if n := s.GetDriftRepaired()[string(o)]; n == 0 || metrics[series] != float64(n) {
			r.t.Errorf("repairs of type %s: the status counts %d, the metrics %v", o, n, metrics[series])
		}
	}
	if slices.Contains(slices.Collect(maps.Values(s.GetForeignObjects())), 0) {
		r.t.Errorf("foreign objects are counted as %v", s.GetForeignObjects())
	}
}
