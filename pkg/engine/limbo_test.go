// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/store"
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

// Load implements [store.Store]; what afterLoad was given runs once after it.
func (s faultyStore) Load(ctx context.Context) ([]store.Document, error) {
	docs, err := s.Store.Load(ctx)
	s.faults.mu.Lock()
	then := s.faults.loaded
	s.faults.loaded = nil
	s.faults.mu.Unlock()
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
