// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// The ids of what is ours in QEMU. The dot of the second keeps it apart from all names of the first.
const (
	prefixBlk  = "opi-"
	prefixNvme = "opi.nvme."
)

// ours says whether an id is one of ours.
func ours(id string) bool {
	return strings.HasPrefix(id, prefixBlk) || strings.HasPrefix(id, prefixNvme)
}

// releaseTime bounds how long the data plane takes to see that a virtual machine has let go.
const releaseTime = 5 * time.Second

// blkPart returns a virtio-blk device's half in QEMU.
func (d *Driver) blkPart(b *driver.VirtioBlk) (part, error) {
	s, err := d.seat("pcie_id", b.PCI)
	return part{
		id: prefixBlk + b.Name, model: modelBlk, what: "virtio-blk device " + b.Name,
		socket: filepath.Join(d.cfg.VhostDir, b.Name), seat: s, queues: b.Queues,
	}, err
}

// createBlk makes the back end, then the device. Without Adopt it takes the first back when the second
// is refused; with it the back end may be what a guest waits for.
func (d *Driver) createBlk(ctx context.Context, step *driver.Step, b *driver.VirtioBlk) error {
	p, misplaced := d.blkPart(b)
	if misplaced != nil && !step.Adopt {
		return misplaced
	}
	unlock, err := d.locks.lock(ctx, p.id)
	if err != nil {
		return err
	}
	defer unlock()
	if !step.Adopt {
		if err := d.vacant(ctx, b.Key(), p); err != nil {
			return err
		}
	}
	if err := d.inner(ctx, *step); err != nil {
		return err
	}
	if misplaced != nil {
		return misplaced
	}
	err = d.seated(ctx, p)
	if err == nil || step.Adopt || errors.Is(err, errdefs.OutcomeUnknown) {
		return err
	}
	return d.rollBack(ctx, b, err)
}

// vacant says why a device cannot be made from nothing.
func (d *Driver) vacant(ctx context.Context, key driver.Key, p part) error {
	v, there, err := d.device(ctx, p.id)
	switch {
	case err != nil:
		return err
	case there:
		return errdefs.New(errdefs.AlreadyExists, "%s exists already: QEMU has the device %s (%s in %s)",
			key, p.id, v.model, seat{v.bus, v.slot})
	}
	return d.pluggable(p)
}

// seated makes sure that the device is where it should be.
func (d *Driver) seated(ctx context.Context, p part) error {
	v, there, err := d.device(ctx, p.id)
	switch {
	case err != nil:
		return err
	case !there:
		return d.plug(ctx, p)
	case v.model != p.model:
		return errdefs.New(errdefs.FailedPrecondition, "%s: QEMU has a device %s that is a %s: unplug it", p.what, p.id, v.model)
	case v.bus != p.seat.bus || v.slot != p.seat.slot:
		return errdefs.New(errdefs.FailedPrecondition,
			"%s: the host has it in %s, and not in %s: it stays there, so that the host keeps its disk, until it is unplugged or QEMU is restarted",
			p.what, seat{v.bus, v.slot}, p.seat)
	}
	return nil
}

// inner carries out one step in the data plane. The number of queues is for QEMU only.
func (d *Driver) inner(ctx context.Context, step driver.Step) error {
	step.After = nil
	if b, ok := step.Object.(*driver.VirtioBlk); ok && b.Queues > 0 {
		served := *b
		served.Queues = 0
		step.Object = &served
	}
	return d.cfg.Inner.Apply(ctx, []driver.Step{step})[0]
}

// rollBack takes the back end away again, because of err, whether or not the caller is still there.
func (d *Driver) rollBack(ctx context.Context, o driver.Object, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime+cleanupTime)
	defer cancel()
	if undoErr := d.release(ctx, o, true); undoErr != nil {
		return errdefs.Wrap(errdefs.OutcomeUnknown, errors.Join(err, undoErr), "%s was refused and could not be undone", o.Key())
	}
	return err
}

// release deletes the back end. With patience it waits until the data plane has seen that nobody uses it
// any more.
func (d *Driver) release(ctx context.Context, o driver.Object, patience bool) error {
	waiting, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	if l, ok := o.(*driver.Listener); ok {
		if err := d.left(waiting, l); err != nil {
			return err
		}
	}
	for {
		err := d.inner(ctx, driver.Step{Op: driver.Delete, Object: o})
		if !patience || !errors.Is(err, errdefs.FailedPrecondition) || pause(waiting, lookPause) != nil {
			return err
		}
	}
}

// updateBlk adds the half that is missing. What else is to be changed is the data plane's to say.
func (d *Driver) updateBlk(ctx context.Context, step *driver.Step, b *driver.VirtioBlk) error {
	if from, ok := step.From.(*driver.VirtioBlk); ok && from.Lacks != driver.LacksBackEnd && from.Bdev != b.Bdev {
		return d.inner(ctx, *step)
	}
	return d.createBlk(ctx, &driver.Step{Op: driver.Create, Object: b, Adopt: true}, b)
}

// deleteBlk unplugs the device, then deletes the back end.
func (d *Driver) deleteBlk(ctx context.Context, b *driver.VirtioBlk) error {
	id := prefixBlk + b.Name
	unlock, err := d.locks.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	was, err := d.unplug(ctx, id, "virtio-blk device "+b.Name)
	if err != nil {
		return err
	}
	return d.release(ctx, b, was)
}
