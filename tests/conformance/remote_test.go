// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"errors"
	"fmt"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestRemoteNamespaces: what a storage node has is listed with all that it is known by, and comes and
// goes as it does there.
func TestRemoteNamespaces(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := &suite{t: t, e: e}
	s.make(remoteController())
	s.make(made{"nvmePath", "nvmeRemoteControllers/node-1/nvmePaths/path-1", func(_ testing.TB, e *env) proto.Message { return pathTo(e) }})

	const nguid, eui64 = "0123456789abcdef0123456789abcdef", "fedcba9876543210"
	first := pb.NvmeRemoteNamespace{Nsid: 1, Uuid: "00000000-0000-4000-8000-000000000001", Nguid: "00000000000040008000000000000001"}
	second := pb.NvmeRemoteNamespace{Nsid: 2, Uuid: "00000000-0000-4000-8000-000000000002", Nguid: "00000000000040008000000000000002"}
	fourth := pb.NvmeRemoteNamespace{Nsid: 4, Uuid: someUUID, Nguid: nguid, Eui64: -0x123456789abcdf0}
	e.listed(t, "all that is there", &first, &second)

	// A namespace whose identifiers are all different: none can stand for another.
	bdev := &driver.Bdev{Name: "s4", Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 8192, UUID: "00000000-0000-4000-8000-000000000004"}
	ns := &driver.Namespace{Subsystem: storageNQN, NSID: 4, Bdev: "s4", UUID: someUUID, NGUID: nguid, EUI64: eui64}
	change := func(steps ...driver.Step) {
		if err := errors.Join(e.storage.Apply(t.Context(), steps)...); err != nil {
			t.Fatal(err)
		}
	}
	change(driver.Step{Op: driver.Create, Object: bdev}, driver.Step{Op: driver.Create, Object: ns, After: []int{0}})
	e.listed(t, "a namespace that has come", &first, &second, &fourth)
	change(driver.Step{Op: driver.Delete, Object: &driver.Namespace{Subsystem: storageNQN, NSID: 2}})
	e.listed(t, "a namespace that has gone", &first, &fourth)
	e.dataPlane.Restart()
	e.ready(t)
	e.listed(t, "all after a restart of the data plane", &first, &fourth)
}

// listed waits until the remote namespaces of node-1 are these, but for their names, in list and get.
func (e *env) listed(t *testing.T, what string, want ...*pb.NvmeRemoteNamespace) {
	t.Helper()
	k := e.kinds["nvmeRemoteNamespace"]
	for _, ns := range want {
		ns.Name = fmt.Sprintf("nvmeRemoteControllers/node-1/nvmeRemoteNamespaces/node-1n%d", ns.GetNsid())
	}
	testkit.Eventually(t, what, func() error {
		names, _, err := e.client.List(t.Context(), k, "nvmeRemoteControllers/node-1", 0, "")
		if err != nil || len(names) != len(want) {
			return fmt.Errorf("%d namespaces, not %d: %v (%w)", len(names), len(want), names, err)
		}
		for _, ns := range want {
			got, err := e.client.Get(t.Context(), k, resource.Name(ns.GetName()))
			if err != nil || !proto.Equal(got, ns) {
				return fmt.Errorf("got %v, want %v (%w)", got, ns, err)
			}
		}
		return nil
	})
}
