// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestConsumerLeftBehind: a bridge that dies between making a bdev used and taking that back leaves a
// subsystem, which the next one hides and removes.
func TestConsumerLeftBehind(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := connected(t, p)
	b := bdev("m")
	limits := func(iops uint64) *driver.Limits { return &driver.Limits{Bdev: "m", IOPS: iops} }
	for _, o := range []driver.Object{b, limits(1000)} {
		if err := do(t, d, driver.Create, o); err != nil {
			t.Fatal(err)
		}
	}
	// The answer to the limits never comes, and neither does anything after it.
	p.rule("bdev_set_qos_limit", func(c *jsonrpc.Call) {
		if len(p.calls("nvmf_subsystem_add_ns")) == 0 {
			p.forward(c, nil)
			return
		}
		p.rule("nvmf_delete_subsystem", func(*jsonrpc.Call) {})
		p.forward(c, func(result json.RawMessage) any { return result })
	})
	outcome := make(chan error, 1)
	go func() {
		outcome <- d.Apply(t.Context(), []driver.Step{{Op: driver.Update, Object: limits(2000), From: limits(1000)}})[0]
	}()
	testkit.Eventually(t, "the subsystem is to be removed", func() error {
		if len(p.calls("nvmf_delete_subsystem")) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	p.rule("bdev_set_qos_limit", nil)
	p.rule("nvmf_delete_subsystem", nil)
	p.restart()
	if err := <-outcome; !errors.Is(err, errdefs.OutcomeUnknown) {
		t.Errorf("got %v", err)
	}
	c := caller(t, p.socket)
	left := func() (nqns []string) {
		all, err := spdkrpc.GetNvmfSubsystems(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if strings.Contains(s.NQN, "opi-bridge") {
				nqns = append(nqns, s.NQN)
			}
		}
		return nqns
	}
	if n := left(); len(n) != 1 {
		t.Fatalf("left behind: %v", n)
	}
	next := connected(t, p)
	o, err := next.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for key := range o.Objects {
		if strings.Contains(key.ID, "opi-bridge") {
			t.Errorf("%s is observed", key)
		}
	}
	if got, ok := o.Objects[b.Key()].(*driver.Bdev); !ok || got.Claimed {
		t.Errorf("the bdev is observed as %+v", got)
	}
	if n := left(); len(n) != 0 {
		t.Errorf("left behind after a look: %v", n)
	}
	sub := &driver.Subsystem{NQN: someNQN}
	for _, object := range []driver.Object{sub, &driver.Namespace{Subsystem: someNQN, NSID: 1, Bdev: "m", UUID: someUUID}} {
		if err := do(t, next, driver.Create, object); err != nil {
			t.Error(err)
		}
	}
}

// TestConsumerReplaced: one that was left behind is not in the way of the next change either.
func TestConsumerReplaced(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := connected(t, p)
	if err := do(t, d, driver.Create, bdev("m")); err != nil {
		t.Fatal(err)
	}
	if err := do(t, d, driver.Create, &driver.Limits{Bdev: "m", IOPS: 1000}); err != nil {
		t.Fatal(err)
	}
	update := func(iops uint64) {
		t.Helper()
		if err := d.Apply(t.Context(), []driver.Step{{
			Op: driver.Update, Object: &driver.Limits{Bdev: "m", IOPS: iops}, From: &driver.Limits{Bdev: "m", IOPS: 1000},
		}})[0]; err != nil {
			t.Error(err)
		}
	}
	update(2000)
	made := p.calls("nvmf_create_subsystem")
	if len(made) != 1 {
		t.Fatalf("made: %v", made)
	}
	if err := caller(t, p.socket).Call(t.Context(), "nvmf_create_subsystem", made[0].Params, nil); err != nil {
		t.Fatal(err)
	}
	update(3000)
	if n := len(p.calls("nvmf_delete_subsystem")); n != 3 {
		t.Errorf("%d subsystems were removed", n)
	}
}

// TestNoRoomForConsumer: the subsystems are used up.
func TestNoRoomForConsumer(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := connected(t, p)
	l := &driver.Limits{Bdev: "m", IOPS: 1000}
	for _, o := range []driver.Object{bdev("m"), l} {
		if err := do(t, d, driver.Create, o); err != nil {
			t.Fatal(err)
		}
	}
	p.refuse("nvmf_create_subsystem", -32603, "Unable to create subsystem")
	if err := do(t, d, driver.Delete, l); !errors.Is(err, errdefs.ResourceExhausted) || !strings.Contains(err.Error(), "m") {
		t.Errorf("got %v", err)
	}
	p.refuse("nvmf_create_subsystem", -32601, "Method not found")
	if err := do(t, d, driver.Delete, l); !errors.Is(err, errdefs.Unimplemented) {
		t.Errorf("got %v", err)
	}
}
