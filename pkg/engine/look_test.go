// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// nearsighted is a driver that can be made to refuse to look at everything.
type nearsighted struct {
	driver.Driver
	on atomic.Bool
}

func (d *nearsighted) Observe(ctx context.Context) (*driver.Observation, error) {
	if d.on.Load() {
		return nil, errdefs.New(errdefs.Unavailable, "this data plane is too large to be looked at as a whole")
	}
	return d.Driver.Observe(ctx)
}

// TestMutationsNeverLookAtEverything: what a call costs must not depend on how much else there is.
func TestMutationsNeverLookAtEverything(t *testing.T) {
	node := newRig(t, nil) // a storage node with one disk
	port := testkit.FreePort(t)
	node.mustCreate("nullVolumes", "", "vol-1", nullVolume())
	node.mustCreate("nvmeSubsystems", "", "web-1", &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN}})
	node.mustCreate("nvmeControllers", "nvmeSubsystems/web-1", "ctrl-1", listener(port))
	node.mustCreate("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-1", namespace("nullVolumes/vol-1"))

	r := stopped(t)
	near := &nearsighted{}
	r.wrap = func(d driver.Driver) driver.Driver { near.Driver = d; return near }
	r.dataPlane = testkit.DataPlane(t)
	r.start()
	t.Cleanup(func() { r.stop() })
	near.on.Store(true)
	testkit.Eventually(t, "it is said that nothing can be repaired", func() error {
		r.eng.Audit()
		if s := r.eng.Status(); s.PassErr == nil {
			return errors.New("no error")
		}
		return nil
	})

	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	aio := r.mustCreate("aioVolumes", "", "file-1", &pb.AioVolume{Filename: file, BlockSize: 512})
	if got, ok := aio.(*pb.AioVolume); !ok || got.GetBlocksCount() != 128 {
		t.Errorf("aio volume without a size: %v", aio)
	}
	r.mustCreate("nvmeRemoteControllers", "", "far-1", &pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH})
	r.mustCreate("nvmePaths", "nvmeRemoteControllers/far-1", "path-1", &pb.NvmePath{
		Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP, Traddr: "127.0.0.1",
		Fabrics: &pb.FabricsPath{
			Trsvcid: int64(port), Subnqn: testNQN, Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
		},
	})
	const remote = "nvmeRemoteControllers/far-1/nvmeRemoteNamespaces/far-1n1"
	if _, err := r.get("nvmeRemoteNamespaces", remote); err != nil {
		t.Errorf("what the path brought is not known: %v", err)
	}
	r.behind(driver.Create, &driver.Bdev{Name: "bare", Kind: driver.BdevNull, BlockSizeBytes: 512, Blocks: 8, UUID: "00000000-0000-4000-8000-00000000000b"})
	r.mustCreate("nvmeSubsystems", "", "web-1", &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN}})
	for i, ref := range []string{remote, "bare", "aioVolumes/file-1"} {
		r.mustCreate("nvmeNamespaces", "nvmeSubsystems/web-1", fmt.Sprintf("disk-%d", i), namespace(ref))
	}
	_, err := r.create("nullVolumes", "", "bare", nullVolume())
	wantClass(t, "a name that somebody else has", err, errdefs.AlreadyExists)
	_, err = r.create("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-9", namespace("nobodys"))
	wantClass(t, "a bdev that is not there", err, errdefs.NotFound)

	err = r.remove("nvmePaths", "nvmeRemoteControllers/far-1/nvmePaths/path-1")
	wantClass(t, "the last path of a used controller", err, errdefs.FailedPrecondition)
	for i := range 3 {
		if err := r.remove("nvmeNamespaces", fmt.Sprintf("nvmeSubsystems/web-1/nvmeNamespaces/disk-%d", i)); err != nil {
			t.Error(err)
		}
	}
	if err := r.remove("nvmePaths", "nvmeRemoteControllers/far-1/nvmePaths/path-1"); err != nil {
		t.Error(err)
	}
	_, err = r.get("nvmeRemoteNamespaces", remote)
	wantClass(t, "what has gone with the path", err, errdefs.NotFound)
	near.on.Store(false)
	testkit.Eventually(t, "everything can be repaired again", func() error {
		r.eng.Audit()
		return r.eng.Status().PassErr
	})
}
