// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestWhatIsLostWhileTheStoreIsReadIsNotForgotten loses the answer to a create just after the store
// was read to heal another one: what was read says nothing of the second.
func TestWhatIsLostWhileTheStoreIsReadIsNotForgotten(t *testing.T) {
	f := &faults{left: -1}
	r := newRig(t, f)
	second := make(chan error, 1)
	f.afterLoad(func() {
		f.arm(lostDone, 0)
		_, err := r.create("nullVolumes", "", "vol-2", nullVolume())
		second <- err
	})
	f.arm(lostNot, 0)
	if _, err := r.create("nullVolumes", "", "vol-1", nullVolume()); err == nil {
		t.Error("a create without an answer from the store succeeded")
	}
	if err := <-second; err == nil {
		t.Error("the second create without an answer from the store succeeded")
	}
	f.disarm()
	r.agree("after both were healed")
	if _, err := r.get("nullVolumes", "nullVolumes/vol-2"); err != nil {
		t.Errorf("what the store has taken: %v", err)
	}
}

// forgotten waits until it is known that the store never got a volume.
func (r *rig) forgotten(name string) {
	r.t.Helper()
	testkit.Eventually(r.t, "what the store never got is forgotten", func() error {
		if _, err := r.get("nullVolumes", name); !errors.Is(err, errdefs.NotFound) {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

// lose creates a volume of which the store never hears.
func (r *rig) lose(id string) {
	r.t.Helper()
	r.faults.arm(lostNot, 0)
	if _, err := r.create("nullVolumes", "", id, nullVolume()); err == nil {
		r.t.Error("a create without an answer from the store succeeded")
	}
	r.faults.disarm()
}

// TestDoubtEndsWhileAPassWaits loses a write while a pass waits for the data plane.
func TestDoubtEndsWhileAPassWaits(t *testing.T) {
	f := &faults{left: -1}
	r := newRig(t, f)
	looking, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.set(func() { f.looks = func() { once.Do(func() { close(looking); <-goOn }) } })
	r.eng.Audit()
	<-looking
	defer close(goOn)
	r.lose("vol-1")
	r.forgotten("nullVolumes/vol-1")
}

// TestDoubtEndsWithoutTheDataPlane loses a write and then the data plane, before the store is back.
func TestDoubtEndsWithoutTheDataPlane(t *testing.T) {
	f := &faults{left: -1}
	r := newRig(t, f)
	f.set(func() { f.silent = true })
	r.lose("vol-1")
	r.dataPlane.Kill()
	testkit.Eventually(t, "the data plane is gone", func() error {
		if r.driver.Status().Up {
			return errors.New("it is up")
		}
		return nil
	})
	f.set(func() { f.silent = false })
	r.forgotten("nullVolumes/vol-1")
	r.dataPlane.Start()
	r.settled()
}

// TestReplayDoesNotWaitForTheStore restarts the data plane while the store is away and a write is in
// doubt: everything else must come back.
func TestReplayDoesNotWaitForTheStore(t *testing.T) {
	f := &faults{left: -1}
	r := newRig(t, f)
	r.buildDisk()
	want := r.eng.Objects()
	f.set(func() { f.silent = true })
	r.lose("vol-2")
	r.dataPlane.Restart()
	testkit.Eventually(t, "all that is known is put back while the store is away", func() error {
		o, err := r.driver.Observe(t.Context())
		if err != nil {
			return err
		}
		for key := range want {
			if o.Objects[key] == nil {
				return fmt.Errorf("%s is missing", key)
			}
		}
		return nil
	})
	f.set(func() { f.silent = false })
	r.forgotten("nullVolumes/vol-2")
}

// Load implements [store.Store]; what afterLoad was given runs once after it.
func (s faultyStore) Load(ctx context.Context) ([]store.Document, error) {
	docs, err := s.Store.Load(ctx)
	s.faults.mu.Lock()
	then, silent := s.faults.loaded, s.faults.silent
	s.faults.loaded = nil
	s.faults.mu.Unlock()
	if silent {
		return nil, away.error()
	}
	if then != nil {
		then()
	}
	return docs, err
}

func (f *faults) afterLoad(then func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loaded = then
}
