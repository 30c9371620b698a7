// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// replay is something after which the bridge must put everything back by itself.
type replay struct {
	name string
	// looks says that calls that only look count, too.
	looks bool
	// begin makes it happen, with the gate armed; the bridge need not be ready when it returns.
	begin func(r *rig)
}

func replays() []replay {
	return []replay{
		{"boot on an empty data plane", true, func(r *rig) {
			r.bridge.Kill()
			r.dpProxy.cut()
			r.stProxy.cut()
			r.dataPlane.Restart()
			r.bridge.Launch()
		}},
		{"repair of a data plane that was restarted", true, func(r *rig) {
			r.dataPlane.Kill()
			r.dpProxy.cut()
			r.dataPlane.Start()
		}},
		// The audits look all the time, so only what they change counts.
		{"repair of what was deleted by hand", false, (*rig).deleteAll},
	}
}

// deleteAll deletes everything that belongs to the bridge behind its back, but for keys of volumes: one
// that is destroyed while the bridge puts its volume back is the end of an SPDK.
func (r *rig) deleteAll() {
	r.t.Helper()
	seen, err := r.eye.Observe(r.t.Context())
	must(r.t, err)
	var left []driver.Object
	for _, o := range seen.Objects {
		b, ok := o.(*driver.Bdev)
		if brought := ok && b.Nvme != nil; !brought && o.Key().Type != driver.TypeCryptoKey {
			left = append(left, o)
		}
	}
	slices.SortFunc(left, func(a, b driver.Object) int { return cmp.Compare(a.Key().String(), b.Key().String()) })
	// What fails is gone with what it belonged to, or is being put back already.
	for _, o := range left {
		_ = r.eye.Apply(r.t.Context(), []driver.Step{{Op: driver.Delete, Object: o}})
	}
}

// TestReplay breaks the replay at boot, and the repair after a restart of the data plane and after
// deletions by hand, at every message, and at every write of a store in a file.
func TestReplay(t *testing.T) {
	shared := newStorage(t)
	for _, replay := range replays() {
		t.Run(replay.name, func(t *testing.T) {
			t.Parallel()
			newRig(t, shared).replay(t, replay, faultsOnRedis())
		})
		t.Run(replay.name+", on a file", func(t *testing.T) {
			t.Parallel()
			newFileRig(t, shared, filepath.Join(t.TempDir(), "state.db")).replay(t, replay, faultsOnFile())
		})
	}
}

// replay breaks a replay by each of the faults.
func (r *rig) replay(t *testing.T, replay replay, faults []fault) {
	for _, b := range everything() {
		r.build(b)
		r.known = append(r.known, b.name)
	}
	must(t, r.settled())
	messages := 0
	r.as(t, "unbroken", func() {
		r.gate.arm(0, false, replay.looks)
		replay.begin(r)
		must(r.t, r.settled())
		must(r.t, r.standing())
		if messages = r.gate.disarm(); messages == 0 {
			r.t.Fatal("no message came past the proxies")
		}
	})
	for _, f := range faults {
		r.as(t, f.name, func() {
			for _, p := range points(messages, f.replay, r.t.Name()) {
				r.again(replay, f, p)
				if r.t.Failed() {
					return
				}
			}
		})
	}
}

// endured waits for the outcome. A fault that has to be healed is, once it was felt; and a bridge that
// has ended because of it is started again, as its supervisor does.
func (r *rig) endured(f fault, done <-chan error) error {
	r.t.Helper()
	heal := func() {}
	if f.heal != nil {
		heal = sync.OnceFunc(func() { f.heal(r) })
	}
	defer heal()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-r.felt():
			heal()
		case <-tick.C:
			if !r.bridge.Running() {
				heal()
				r.bridge.Launch()
			}
		}
	}
}

// felt has a token when the disk has failed; nil without one.
func (r *rig) felt() <-chan struct{} {
	if r.disk == nil {
		return nil
	}
	return r.disk.failed
}

// again breaks a replay once.
func (r *rig) again(replay replay, f fault, p point) {
	r.t.Helper()
	r.gate.arm(p.at, p.after, replay.looks)
	replay.begin(r)
	reached, done := "", make(chan error, 1)
	go func() { done <- r.settled() }()
	var err error
	began := time.Now()
	select {
	case reached = <-r.gate.reached:
		f.do(r)
		r.gate.disarm()
		if f.fatal {
			r.bridge.Start()
		}
		began = time.Now()
		err = r.endured(f, done)
	case err = <-done:
		r.gate.disarm()
	}
	what := fmt.Sprintf("%s, %s %s (message %d)", replay.name, f.name, p.around(reached), p.at)
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
		return
	}
	counted.agreed(what, time.Since(began))
}
