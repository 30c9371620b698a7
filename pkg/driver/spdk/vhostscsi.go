// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// sockets remembers which vhost-scsi controllers have been started over this connection. SPDK does not tell
// of a controller whether it has a socket, but to start one that has is nothing to it: so those of which
// nothing is known are started once more.
type sockets struct {
	mu      sync.Mutex
	started map[string]bool // by name of controller; guarded by mu
}

func newSockets() *sockets { return &sockets{started: make(map[string]bool)} }

func (s *sockets) has(controller string) bool {
	if s == nil { // nothing has been connected yet
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started[controller]
}

func (s *sockets) set(controller string, started bool) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if started {
		s.started[controller] = true
	} else {
		delete(s.started, controller)
	}
}

// vhostObjects returns what a vhost controller is and has.
func (d *Driver) vhostObjects(v *spdkrpc.VhostController) []driver.Object {
	sess, _ := d.now()
	return sess.vhostObjects(v)
}

// createVirtioScsi makes a controller that no host can reach yet: one that came back too early after a
// restart would find its disks gone.
func (d *Driver) createVirtioScsi(ctx context.Context, step *driver.Step, s *driver.VirtioScsi) error {
	const method = "vhost_create_scsi_controller"
	sess, _ := d.now()
	err := spdkrpc.VhostCreateScsiController{Ctrlr: s.Name, Delay: sess.methods[spdkrpc.MethodVhostStartScsi]}.Do(ctx, d.client)
	if err == nil {
		sess.sockets.set(s.Name, false) // one of that name may have been there before
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

// createVirtioScsiSocket lets hosts reach a controller. Where SPDK cannot do that by itself they can
// already.
func (d *Driver) createVirtioScsiSocket(ctx context.Context, step *driver.Step, s *driver.VirtioScsiSocket) error {
	const method = spdkrpc.MethodVhostStartScsi
	sess, _ := d.now()
	// SPDK dies when it is asked to start a controller of the other sort.
	v, err := d.findVhost(ctx, s.Controller)
	switch {
	case err != nil:
		return err
	case v == nil || v.BackendSpecific.Scsi == nil:
		return errdefs.New(errdefs.NotFound, "virtio-scsi controller %s does not exist", s.Controller)
	case find(sess.vhostObjects(v), s.Key()) != nil:
		return exists(step, s, method, nil)
	}
	if sess.methods[method] {
		if err := spdkrpc.VhostStartScsiController(ctx, d.client, s.Controller); err != nil {
			if settled(err) {
				return plain(method, err, "let hosts reach virtio-scsi controller %s", s.Controller)
			}
			return vhostName(s.Controller, method, err)
		}
	}
	sess.sockets.set(s.Controller, true)
	return nil
}

// deleteVirtioScsiSocket has nothing to do: SPDK takes a socket away with its controller only.
func (d *Driver) deleteVirtioScsiSocket(s *driver.VirtioScsiSocket) error {
	sess, _ := d.now()
	sess.sockets.set(s.Controller, false)
	return nil
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
	if there := find(d.vhostObjects(v), t.Key()); there != nil {
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
		return d.keepVirtioScsi(ctx, t)
	}
	given := waiting.Err() != nil && ctx.Err() == nil
	if settled(err) && !given {
		return plain(method, err, "take slot %d out of virtio-scsi controller %s", t.Slot, t.Controller)
	}
	v, lookErr := d.findVhost(ctx, t.Controller)
	switch {
	case lookErr != nil:
		return lookErr
	case v == nil, find(d.vhostObjects(v), t.Key()) == nil:
		return nil
	case given:
		return errdefs.Wrap(errdefs.OutcomeUnknown, err,
			"slot %d of virtio-scsi controller %s: the VM has not let go of its disk yet: unplug it there", t.Slot, t.Controller)
	}
	return refuse(errdefs.FailedPrecondition, method, err,
		"slot %d of virtio-scsi controller %s cannot be emptied: it is being emptied already, or the VM holds on to it", t.Slot, t.Controller)
}

// keepVirtioScsi makes a controller again that has gone with its last target, as one does that hosts cannot
// reach yet. If that fails, too, it is found to be missing.
func (d *Driver) keepVirtioScsi(ctx context.Context, t *driver.VirtioScsiTarget) error {
	sess, _ := d.now()
	if sess.sockets.has(t.Controller) {
		return nil
	}
	v, err := d.findVhost(ctx, t.Controller)
	if err == nil && v == nil {
		s := &driver.VirtioScsi{Name: t.Controller}
		err = d.createVirtioScsi(ctx, &driver.Step{Op: driver.Create, Object: s, Adopt: true}, s)
	}
	if err != nil {
		return unsure(err, "slot %d of virtio-scsi controller %s is empty, and the controller may be gone", t.Slot, t.Controller)
	}
	return nil
}
