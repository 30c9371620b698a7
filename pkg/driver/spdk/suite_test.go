// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"context"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/driver/drivertest"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDriver runs the suite on opi-dataplane.
func TestDriver(t *testing.T) {
	program := testkit.BuildDataPlane(t)
	drivertest.Run(t, drivertest.Suite{
		Remote: true,
		New: func(t *testing.T) *drivertest.DataPlane {
			t.Helper()
			plane := testkit.DataPlane(t, program)
			return &drivertest.DataPlane{
				Driver: run(t, plane.Socket()),
				Kill:   plane.Kill, Start: plane.Start, Freeze: plane.Pause, Thaw: plane.Resume,
				Dir: t.TempDir(),
			}
		},
	})
}

// run runs a driver until the test ends.
func run(t testing.TB, socket string) *spdk.Driver {
	t.Helper()
	d, err := spdk.New(spdk.Config{Network: "unix", Address: socket, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return d
}
