// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// Observe implements [driver.Driver]: three calls, sent together. What an SPDK lacks the methods for
// it cannot hold.
func (d *Driver) Observe(ctx context.Context) (*driver.Observation, error) {
	sess, epoch := d.now()
	var (
		bdevs       []spdkrpc.Bdev
		subsystems  []spdkrpc.NvmfSubsystem
		controllers []spdkrpc.NvmeController
		calls       sync.WaitGroup
		errs        [3]error
	)
	calls.Go(func() { bdevs, errs[0] = spdkrpc.GetBdevs(ctx, d.client) })
	if sess.methods["nvmf_get_subsystems"] {
		calls.Go(func() { subsystems, errs[1] = spdkrpc.GetNvmfSubsystems(ctx, d.client) })
	}
	if sess.methods["bdev_nvme_get_controllers"] {
		calls.Go(func() { controllers, errs[2] = spdkrpc.GetNvmeControllers(ctx, d.client) })
	}
	calls.Wait()
	for i, method := range []string{"bdev_get_bdevs", "nvmf_get_subsystems", "bdev_nvme_get_controllers"} {
		if errs[i] != nil {
			return nil, plain(method, errs[i], "observe the data plane")
		}
	}
	if _, after := d.now(); after != epoch {
		return nil, errdefs.New(errdefs.Unavailable, "the data plane was connected anew while it was observed: try again")
	}
	o := &driver.Observation{Epoch: epoch, Objects: make(map[driver.Key]driver.Object, len(bdevs)+3*len(subsystems))}
	for i := range bdevs {
		b := bdevObject(&bdevs[i])
		o.Objects[b.Key()] = b
	}
	for i := range subsystems {
		for _, object := range subsystemObjects(&subsystems[i]) {
			o.Objects[object.Key()] = object
		}
	}
	for i := range controllers {
		for _, p := range pathObjects(&controllers[i]) {
			o.Objects[p.Key()] = p
		}
	}
	return o, nil
}
