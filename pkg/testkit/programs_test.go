// SPDX-License-Identifier: Apache-2.0

package testkit_test

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func TestDataPlaneAndBridge(t *testing.T) {
	plane := testkit.DataPlane(t)
	bridge := testkit.Bridge(t, testkit.BridgeConfig{
		SPDK: plane.Addr(), Store: "bolt://" + filepath.Join(t.TempDir(), "state.db"),
	})
	check := func(step string) {
		t.Helper()
		for _, to := range [][2]string{{"unix", plane.Socket()}, {"tcp", bridge.GRPCAddr()}, {"tcp", bridge.HTTPAddr()}} {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), to[0], to[1])
			if err != nil {
				t.Errorf("%s: %v", step, err)
				continue
			}
			_ = conn.Close()
		}
	}
	check("at first")
	bridge.Restart()
	check("after the bridge was killed")
	plane.Restart()
	check("after the data plane was killed")
	bridge.Stop()
	bridge.Start()
	check("after the bridge was stopped")
	bridge.Stop()
	plane.Stop()
}
