// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/driver/drivertest"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDriver runs the suite on opi-dataplane.
func TestDriver(t *testing.T) { drivertest.Run(t, suite()) }

// suite is what the newest data plane can do, and how to start one with further flags.
func suite(flags ...string) drivertest.Suite {
	return drivertest.Suite{
		Remote: true, Crypto: true, Limits: true, Virtio: true, TLSKeys: true,
		New: func(t *testing.T) *drivertest.DataPlane {
			t.Helper()
			vhostDir := testkit.SocketDir(t)
			plane := testkit.DataPlane(t, append([]string{"--vhost-dir", vhostDir, "--crash-like-spdk"}, flags...)...)
			return &drivertest.DataPlane{
				Driver: start(t, spdk.Config{
					Network: "unix", Address: plane.Socket(), KeyDir: filepath.Join(t.TempDir(), "keys"),
					Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
				}),
				Plug: func(t *testing.T, device string) func() { return plug(t, plane, filepath.Join(vhostDir, device)) },
				Kill: plane.Kill, Start: plane.Start, Freeze: plane.Pause, Thaw: plane.Resume,
				Dir: t.TempDir(),
			}
		},
	}
}

// run runs a driver until the test ends.
func run(tb testing.TB, socket string) *spdk.Driver {
	tb.Helper()
	return start(tb, spdk.Config{Network: "unix", Address: socket, Log: slog.New(slog.NewTextHandler(tb.Output(), nil))})
}

// start runs a driver of that configuration until the test ends.
func start(tb testing.TB, cfg spdk.Config) *spdk.Driver {
	tb.Helper()
	d, err := spdk.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	runUntilEnd(tb, d.Run)
	return d
}

// runUntilEnd runs what blocks until its context ends, until the test ends.
func runUntilEnd(tb testing.TB, run func(context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Run: %v", err)
		}
	})
}
