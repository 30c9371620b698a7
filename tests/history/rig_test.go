// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	bridgepb "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

// rig is a bridge with a data plane and a store, and wires between them that can be cut. Its methods
// are for the test's own goroutine.
type rig struct {
	t         *testing.T
	dataPlane *testkit.DataPlaneProcess
	redis     *testkit.RedisServer // nil when the store is a file
	bridge    *testkit.BridgeProcess
	config    testkit.BridgeConfig
	// spare is a second bridge, which runs only to take over; nil before the first time.
	spare *testkit.BridgeProcess
	// The wires: to the data plane, to the store (nil when that is a file), and from the clients.
	toDataPlane, toStore, toBridge *relay
	clients                        []client
	dir                            string
	// epoch is the last connection to the data plane that was seen, and awaited the next one: a bridge
	// that has not noticed yet that the old one is cut says that all is well.
	epoch, awaited uint64

	// What histories name: ports for hosts, those of the storage node, and a file.
	ports, storage [2]int
	image          string
}

// newRig starts everything, with a Redis or a file as the store.
func newRig(t *testing.T, file bool, clients int) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.dataPlane = testkit.DataPlane(t, "--vhost-dir", testkit.SocketDir(t))
	r.toDataPlane = newRelay(t, "unix", r.dataPlane.Socket())
	url := "bolt://" + filepath.Join(r.dir, "state.db")
	if !file {
		r.redis = testkit.Redis(t)
		r.toStore = newRelay(t, "tcp", r.redis.Addr())
		url = "redis://" + r.toStore.addr() + "/0"
	}
	r.config = testkit.BridgeConfig{
		SPDK: "unix://" + r.toDataPlane.addr(), Store: url, WaitFor: "/healthz",
		Flags: []string{
			"--secret-key-file", filepath.Join(r.dir, "seal.key"), "--key-dir", filepath.Join(r.dir, "keys"), "--audit-interval", "2s",
		},
	}
	r.bridge = testkit.Bridge(t, r.config)
	r.toBridge = newRelay(t, "tcp", r.bridge.GRPCAddr())
	for range clients {
		r.clients = append(r.clients, dial(t, r.toBridge.addr()))
	}
	r.settle()
	return r
}

// settle waits until everything is there and nothing is under way or in doubt any more.
func (r *rig) settle() {
	r.t.Helper()
	api := bridgepb.NewBridgeServiceClient(r.clients[0].Conn)
	testkit.Eventually(r.t, "nothing is under way any more", func() error {
		s, err := api.GetStatus(r.t.Context(), &bridgepb.GetStatusRequest{})
		if err != nil {
			return err
		}
		if !s.GetReady() || !s.GetDataPlane().GetSettled() || !s.GetStore().GetReachable() || s.GetDataPlane().GetEpoch() < r.awaited {
			return fmt.Errorf("the bridge is not ready: %v", s)
		}
		list, err := api.ListResourceStatus(r.t.Context(), &bridgepb.ListResourceStatusRequest{NotReadyOnly: true})
		if err != nil {
			return err
		}
		if all := list.GetResources(); len(all) > 0 {
			return fmt.Errorf("%d resources are not ready, the first: %v", len(all), all[0])
		}
		r.epoch, r.awaited = s.GetDataPlane().GetEpoch(), 0
		return nil
	})
}

// rest lets requests go on for a while.
func (r *rig) rest(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.t.Context().Done():
	}
}

// must ends the test at an error of the test's own.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
