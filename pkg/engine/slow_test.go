// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// longWay is a driver whose targets answer only when they are let.
type longWay struct {
	driver.Driver

	mu  sync.Mutex
	let chan struct{} // guarded by mu: closed when they may; nil for always
}

func (d *longWay) Apply(ctx context.Context, steps []driver.Step) []error {
	d.mu.Lock()
	let := d.let
	d.mu.Unlock()
	if let != nil && slices.ContainsFunc(steps, func(s driver.Step) bool { _, remote := s.Object.(driver.Remote); return remote }) {
		<-let
	}
	return d.Driver.Apply(ctx, steps)
}

// TestWhatIsSlowIsNotReady: while a path is being attached again everything else is served, and the path
// is not said to be there.
func TestWhatIsSlowIsNotReady(t *testing.T) {
	const path = "nvmeRemoteControllers/far-1/nvmePaths/path-1"
	node := newRig(t, nil)
	port := testkit.FreePort(t)
	node.mustCreate("nvmeSubsystems", "", "web-1", &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN}})
	node.mustCreate("nvmeControllers", "nvmeSubsystems/web-1", "ctrl-1", listener(port))

	r := stopped(t)
	way := &longWay{}
	r.wrap = func(d driver.Driver) driver.Driver { way.Driver = d; return way }
	r.dataPlane = testkit.DataPlane(t)
	r.start()
	t.Cleanup(func() { r.stop() })
	r.mustCreate("nvmeRemoteControllers", "", "far-1", &pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH})
	r.mustCreate("nvmePaths", "nvmeRemoteControllers/far-1", "path-1", &pb.NvmePath{
		Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP, Traddr: "127.0.0.1",
		Fabrics: &pb.FabricsPath{Trsvcid: int64(port), Subnqn: testNQN, Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4},
	})

	let := make(chan struct{})
	way.mu.Lock()
	way.let = let
	way.mu.Unlock()
	epoch := r.driver.Status().Epoch
	r.dataPlane.Restart()
	testkit.Eventually(t, "everything else is put back", func() error {
		if s := r.eng.Status(); s.DataPlane.Epoch == epoch || !s.Settled {
			return errors.New("not yet")
		}
		return nil
	})
	if c, err := r.eng.Condition(path); err != nil || c.Err == nil {
		t.Errorf("the path that is being attached stands as %+v, %v", c, err)
	}
	if n := r.eng.Status().NotReadyCount; n != 1 {
		t.Errorf("%d are not ready, want the path", n)
	}
	close(let)
	r.settled()
	if c, err := r.eng.Condition(path); err != nil || c.Err != nil {
		t.Errorf("the path that was attached stands as %+v, %v", c, err)
	}
}
