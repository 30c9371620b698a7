// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"errors"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// unplugTime bounds what SPDK answers only when a VM has let go.
const unplugTime = 5 * time.Second

// vhostObjects returns what a vhost controller is and has.
func (sess *session) vhostObjects(v *spdkrpc.VhostController) []driver.Object {
	switch {
	case v.BackendSpecific.Block != nil:
		return []driver.Object{&driver.VirtioBlk{Name: v.Ctrlr, Bdev: v.BackendSpecific.Block.Bdev}}
	case v.BackendSpecific.Scsi != nil:
		all := []driver.Object{&driver.VirtioScsi{Name: v.Ctrlr}}
		if sess.sockets.has(v.Ctrlr) {
			all = append(all, &driver.VirtioScsiSocket{Controller: v.Ctrlr})
		}
		for _, t := range *v.BackendSpecific.Scsi {
			target := &driver.VirtioScsiTarget{Controller: v.Ctrlr, Slot: t.ScsiDevNum}
			if len(t.Luns) > 0 {
				target.Bdev = t.Luns[0].BdevName
			}
			all = append(all, target)
		}
		return all
	}
	return nil
}

// findVhost returns the controller of that name, or nil if there is none. All are listed: the refusal
// for a name that is not there is the same as for others.
func (d *Driver) findVhost(ctx context.Context, name string) (*spdkrpc.VhostController, error) {
	all, err := spdkrpc.GetVhostControllers(ctx, d.client)
	if err != nil {
		return nil, plain("vhost_get_controllers", err, "look for vhost controller %s", name)
	}
	for i := range all {
		if all[i].Ctrlr == name {
			return &all[i], nil
		}
	}
	return nil, nil //nolint:nilnil // to find nothing is no failure
}

func (d *Driver) createVirtioBlk(ctx context.Context, step *driver.Step, b *driver.VirtioBlk) error {
	const method = "vhost_create_blk_controller"
	if b.Queues > 0 {
		return errdefs.InvalidField("max_io_qps",
			"%d cannot be had for virtio-blk device %s: with vhost-user the host's side chooses the number of queues (QEMU: num-queues): leave it 0",
			b.Queues, b.Name)
	}
	err := spdkrpc.VhostCreateBlkController{Ctrlr: b.Name, DevName: b.Bdev}.Do(ctx, d.client)
	if err == nil {
		return nil
	}
	if settled(err) {
		return plain(method, err, "create virtio-blk device %s on bdev %s", b.Name, b.Bdev)
	}
	if done, lookErr := d.vhostExists(ctx, step, b.Name, method, err); done {
		return lookErr
	}
	if lookErr := d.unusable(ctx, "virtio-blk device "+b.Name, b.Bdev, method, err); lookErr != nil {
		return lookErr
	}
	return vhostName(b.Name, method, err)
}

// vhostExists decides a create that was refused where a controller of that name is there already, and
// reports whether it has.
func (d *Driver) vhostExists(ctx context.Context, step *driver.Step, name, method string, err error) (done bool, outcome error) {
	v, lookErr := d.findVhost(ctx, name)
	switch {
	case lookErr != nil:
		return true, lookErr
	case v == nil:
		return false, nil
	}
	if there := find(d.vhostObjects(v), step.Object.Key()); there != nil {
		return true, exists(step, there, method, err)
	}
	return true, refuse(errdefs.AlreadyExists, method, err, "%s: the name is that of another sort of vhost controller: use another", step.Object.Key())
}

// unusable says why a bdev cannot be opened for writing, nil if it can.
func (d *Driver) unusable(ctx context.Context, what, bdev, method string, err error) error {
	there, lookErr := d.findBdev(ctx, bdev)
	switch {
	case lookErr != nil:
		return lookErr
	case there == nil:
		return refuse(errdefs.NotFound, method, err, "%s: bdev %s does not exist", what, bdev)
	case !there.Claimed:
		return nil
	}
	by, lookErr := d.claimant(ctx, there.Name)
	if lookErr != nil {
		return lookErr
	}
	return refuse(errdefs.FailedPrecondition, method, err, "%s: bdev %s is claimed by %s: free it there first", what, bdev, by)
}

// vhostName is the outcome of a create where nothing is wrong but the socket.
func vhostName(name, method string, err error) error {
	return refuse(errdefs.FailedPrecondition, method, err,
		"vhost controller %q: no socket of that name can be made in the data plane's directory (its option -S): another file is there, or the name is too long or has a slash", name)
}

// deleteVhost deletes a controller that no VM is connected to. SPDK would not answer until it is gone.
func (d *Driver) deleteVhost(ctx context.Context, object driver.Object, name string) error {
	const method = "vhost_delete_controller"
	v, err := d.findVhost(ctx, name)
	switch {
	case err != nil:
		return err
	case v == nil || find(d.vhostObjects(v), object.Key()) == nil:
		return nil // nothing of that name, or somebody else's of another sort
	case len(v.Sessions) > 0:
		return connected(object)
	}
	waiting, cancel := context.WithTimeout(ctx, unplugTime)
	defer cancel()
	err = spdkrpc.VhostDeleteController(waiting, d.client, name)
	if err == nil {
		return nil
	}
	given := waiting.Err() != nil && ctx.Err() == nil
	if settled(err) && !given {
		return plain(method, err, "delete %s", object.Key())
	}
	v, lookErr := d.findVhost(ctx, name)
	switch {
	case lookErr != nil:
		return errors.Join(err, lookErr)
	case v == nil:
		return nil
	case given && len(v.Sessions) > 0:
		// It connected after the look. The delete goes on when it has gone.
		return errdefs.Wrap(errdefs.OutcomeUnknown, connected(object), "%s goes when the VM does", object.Key())
	}
	return refuse(errdefs.Aborted, method, err, "%s is there and cannot be deleted: try again", object.Key())
}

// connected refuses to delete what a VM uses.
func connected(object driver.Object) error {
	return errdefs.New(errdefs.FailedPrecondition, "%s: a VM is connected to it: unplug it first", object.Key())
}
