// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// TestRemovals follows a namespace's id through its rest.
func TestRemovals(t *testing.T) {
	t.Parallel()
	r, at := newRemovals(), time.Unix(1000, 0)
	key := driver.NamespaceKey("nqn", 1)
	r.note(key, at)
	for after, want := range map[time.Duration]time.Duration{0: nsidRest, 100 * time.Millisecond: nsidRest - 100*time.Millisecond} {
		if got := r.rest(key, at.Add(after)); got != want {
			t.Errorf("after %v it rests %v, want %v", after, got, want)
		}
	}
	if got := r.rest(driver.NamespaceKey("nqn", 2), at); got != 0 {
		t.Errorf("another id rests %v", got)
	}
	if got := r.rest(key, at.Add(nsidRest)); got != 0 {
		t.Errorf("it rests too long: %v", got)
	}
	for i := range uint32(5000) {
		r.note(driver.NamespaceKey("nqn", i), at.Add(time.Duration(i)*time.Second))
	}
	if n := len(r.when); n > 1100 {
		t.Errorf("%d are remembered", n)
	}
}

// TestMailbox keeps the latest of each kind, in the order they happened last.
func TestMailbox(t *testing.T) {
	t.Parallel()
	m := newMailbox()
	for _, k := range []driver.EventKind{
		driver.EventUp, driver.EventChanged, driver.EventDown, driver.EventChanged, driver.EventUp, driver.EventUp,
	} {
		m.put(k)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.pump(ctx) }()
	for _, want := range []driver.EventKind{driver.EventDown, driver.EventChanged, driver.EventUp} {
		if got := (<-m.out).Kind; got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	cancel()
	<-done
}

// TestKeyedLock lets one in at a time, forgets who is done, and gives up with the context.
func TestKeyedLock(t *testing.T) {
	t.Parallel()
	k := newKeyedLock()
	if err := k.lock(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.lock(ctx, "a"); err == nil {
		t.Error("locked twice")
	}
	if err := k.lock(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	k.unlock("b")
	k.unlock("a")
	if len(k.locks) != 0 {
		t.Errorf("%d locks are left", len(k.locks))
	}
}

func TestValidNQN(t *testing.T) {
	t.Parallel()
	for nqn, want := range map[string]bool{
		"nqn.2014-08.org.nvmexpress:uuid:11111111-1111-4111-8111-111111111111": true,
		"nqn.2016-06.io.spdk:cnode1": true, "nqn.2016-06.io.spdk:a b": true, "nqn.2016-06.io:ü": true,
		"": false, "nqn.2016-06.io.spdk": false, "nqn.2016-06.io.spdk:": false, "nqn.16-06.io.spdk:x": false,
		"nqn.2016-06.io.-spdk:x": false, "nqn.2016-06.io.spdk-:x": false, "iqn.2016-06.io.spdk:x": false,
	} {
		if got := validNQN(nqn); got != want {
			t.Errorf("%q: %v", nqn, got)
		}
	}
}
