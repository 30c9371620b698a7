// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

// newTarget returns a target with a TCP transport.
func newTarget(tb testing.TB, o target.TransportOptions) *target.Target {
	tb.Helper()
	t, err := target.New(target.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := t.Close(); err != nil {
			tb.Error(err)
		}
	})
	must(tb, t.CreateTransport(o))
	return t
}

// export makes subNQN, open to everybody, with the devices as namespaces, and returns its address.
func export(tb testing.TB, t *target.Target, devices ...bdev.Device) target.Address {
	tb.Helper()
	must(tb, t.CreateSubsystem(target.SubsystemConfig{NQN: subNQN, SerialNumber: "SN1", AllowAnyHost: true}))
	for _, d := range devices {
		if _, err := t.AddNamespace(subNQN, target.NamespaceConfig{Device: d, BdevName: "m0", WriteCache: true, UUID: uuid.UUID{1}, NGUID: [16]byte{2}}); err != nil {
			tb.Fatal(err)
		}
	}
	return listen(tb, t, subNQN, target.Address{TRADDR: "127.0.0.1", TRSVCID: "0"})
}

func listen(tb testing.TB, t *target.Target, nqn string, at target.Address) target.Address {
	tb.Helper()
	bound, err := t.AddListener(tb.Context(), nqn, target.ListenerConfig{Address: at})
	if err != nil {
		tb.Fatal(err)
	}
	return bound
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// eventually polls until cond is true.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			tb.Fatalf("never came true: %s", what)
		}
	}
}
