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
func vhostObjects(v *spdkrpc.VhostController) []driver.Object {
	switch {
	case v.BackendSpecific.Block != nil:
		return []driver.Object{&driver.VirtioBlk{Name: v.Ctrlr, Bdev: v.BackendSpecific.Block.Bdev}}
	case v.BackendSpecific.Scsi != nil:
		all := []driver.Object{&driver.VirtioScsi{Name: v.Ctrlr}}
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
	if there := find(vhostObjects(v), step.Object.Key()); there != nil {
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

func (d *Driver) createVirtioScsi(ctx context.Context, step *driver.Step, s *driver.VirtioScsi) error {
	const method = "vhost_create_scsi_controller"
	err := spdkrpc.VhostCreateScsiController(ctx, d.client, s.Name)
	if err == nil {
		return nil
	}
	if settled(err) {
		return plain(method, err, "create virtio-scsi controller %s", s.Name)
	}
	if done, outcome := d.vhostExists(ctx, step, s.Name, method, err); done {
		return outcome
	}
	return vhostName(s.Name, method, err)
}

func (d *Driver) createVirtioScsiTarget(ctx context.Context, step *driver.Step, t *driver.VirtioScsiTarget) error {
	const method = "vhost_scsi_controller_add_target"
	if t.Slot >= driver.MaxVirtioScsiTargets {
		return errdefs.New(errdefs.InvalidArgument, "target %d of virtio-scsi controller %s: the slots are 0 to %d",
			t.Slot, t.Controller, driver.MaxVirtioScsiTargets-1)
	}
	err := spdkrpc.VhostScsiAddTarget{Ctrlr: t.Controller, ScsiTargetNum: int32(t.Slot), BdevName: t.Bdev}.Do(ctx, d.client)
	if err == nil {
		return nil
	}
	if settled(err) {
		return plain(method, err, "put bdev %s into slot %d of virtio-scsi controller %s", t.Bdev, t.Slot, t.Controller)
	}
	v, lookErr := d.findVhost(ctx, t.Controller)
	switch {
	case lookErr != nil:
		return lookErr
	case v == nil || v.BackendSpecific.Scsi == nil:
		return refuse(errdefs.NotFound, method, err, "virtio-scsi controller %s does not exist", t.Controller)
	}
	if there := find(vhostObjects(v), t.Key()); there != nil {
		return exists(step, there, method, err)
	}
	what := "slot of virtio-scsi controller " + t.Controller
	if lookErr := d.unusable(ctx, what, t.Bdev, method, err); lookErr != nil {
		return lookErr
	}
	return plain(method, err, "put bdev %s into slot %d of virtio-scsi controller %s", t.Bdev, t.Slot, t.Controller)
}

func (d *Driver) deleteVirtioScsiTarget(ctx context.Context, t *driver.VirtioScsiTarget) error {
	const method = "vhost_scsi_controller_remove_target"
	waiting, cancel := context.WithTimeout(ctx, unplugTime)
	defer cancel()
	err := spdkrpc.VhostScsiRemoveTarget{Ctrlr: t.Controller, ScsiTargetNum: t.Slot}.Do(waiting, d.client)
	if err == nil {
		return nil
	}
	given := waiting.Err() != nil && ctx.Err() == nil
	if settled(err) && !given {
		return plain(method, err, "take slot %d out of virtio-scsi controller %s", t.Slot, t.Controller)
	}
	v, lookErr := d.findVhost(ctx, t.Controller)
	switch {
	case lookErr != nil:
		return lookErr
	case v == nil, find(vhostObjects(v), t.Key()) == nil:
		return nil
	case given:
		return errdefs.Wrap(errdefs.OutcomeUnknown, err,
			"slot %d of virtio-scsi controller %s: the VM has not let go of its disk yet: unplug it there", t.Slot, t.Controller)
	}
	return refuse(errdefs.FailedPrecondition, method, err,
		"slot %d of virtio-scsi controller %s cannot be emptied: it is being emptied already, or the VM holds on to it", t.Slot, t.Controller)
}

// deleteVhost deletes a controller that no VM is connected to. SPDK would not answer until it is gone.
func (d *Driver) deleteVhost(ctx context.Context, object driver.Object, name string) error {
	const method = "vhost_delete_controller"
	v, err := d.findVhost(ctx, name)
	switch {
	case err != nil:
		return err
	case v == nil || find(vhostObjects(v), object.Key()) == nil:
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
