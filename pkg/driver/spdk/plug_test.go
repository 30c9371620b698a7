// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// plug connects to a vhost-user socket as a VM monitor does, and says nothing.
func plug(t *testing.T, plane *testkit.DataPlaneProcess, socket string) (unplug func()) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := caller(t, plane.Socket())
	testkit.Eventually(t, "the VM is seen", func() error {
		all, err := spdkrpc.GetVhostControllers(t.Context(), c)
		if err != nil {
			return err
		}
		for _, v := range all {
			if v.Socket == socket && len(v.Sessions) > 0 {
				return nil
			}
		}
		return errors.New("there is no session")
	})
	return func() { _ = conn.Close() }
}

// caller connects to a data plane beside the driver.
func caller(t *testing.T, socket string) *spdkrpc.Client {
	t.Helper()
	up := make(chan struct{}, 1)
	c, err := spdkrpc.NewClient(spdkrpc.ClientConfig{
		Network: "unix", Address: socket, Log: slog.New(slog.DiscardHandler),
		OnReady: func() {
			select {
			case up <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	runUntilEnd(t, c.Run)
	select {
	case <-up:
	case <-t.Context().Done():
		t.Fatal(context.Cause(t.Context()))
	}
	return c
}
