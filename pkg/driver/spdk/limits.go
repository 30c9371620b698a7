// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

const (
	// iopsStep is what SPDK rounds operations per second up to.
	iopsStep = 1000
	// maxMiBs is the largest bandwidth that SPDK keeps as it was given.
	maxMiBs = 1<<44 - 1
)

// limitsObject returns the limits of a bdev, or nil if it has none.
func limitsObject(b *spdkrpc.Bdev) *driver.Limits {
	l := b.AssignedRateLimits
	if l == (spdkrpc.RateLimits{}) {
		return nil
	}
	return &driver.Limits{Bdev: b.Name, IOPS: l.RWIOPerSec, MiBs: l.RWMBytesPerSec, ReadMiBs: l.RMBytesPerSec, WriteMiBs: l.WMBytesPerSec}
}

// findLimits returns the limits of a bdev, nil if it has none, and whether the bdev exists.
func (d *Driver) findLimits(ctx context.Context, bdev string) (l *driver.Limits, exists bool, err error) {
	found, err := spdkrpc.GetBdev(ctx, d.client, bdev)
	if r := spdkrpc.Refusal(err); r != nil && r.Code == spdkrpc.CodeNoDevice {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, plain("bdev_get_bdevs", err, "look for bdev %s", bdev)
	}
	if len(found) == 0 {
		return nil, false, nil
	}
	return limitsObject(&found[0]), true, nil
}

func checkLimits(l *driver.Limits) error {
	if l.IOPS%iopsStep != 0 {
		return errdefs.New(errdefs.InvalidArgument, "limits of bdev %s: %d operations per second is not a multiple of %d", l.Bdev, l.IOPS, iopsStep)
	}
	for _, mibs := range []uint64{l.MiBs, l.ReadMiBs, l.WriteMiBs} {
		if mibs > maxMiBs {
			return errdefs.New(errdefs.InvalidArgument, "limits of bdev %s: %d MiB per second is more than the %d that SPDK takes", l.Bdev, mibs, uint64(maxMiBs))
		}
	}
	if l.IOPS|l.MiBs|l.ReadMiBs|l.WriteMiBs == 0 {
		return errdefs.New(errdefs.InvalidArgument, "limits of bdev %s: none is set: delete them instead", l.Bdev)
	}
	return nil
}

func (d *Driver) createLimits(ctx context.Context, step *driver.Step, l *driver.Limits) error {
	if err := checkLimits(l); err != nil {
		return err
	}
	return d.alone(ctx, l.Bdev, func() error {
		there, ok, err := d.findLimits(ctx, l.Bdev)
		switch {
		case err != nil:
			return err
		case !ok:
			return errdefs.New(errdefs.NotFound, "limits of bdev %s: the bdev does not exist", l.Bdev)
		case there != nil:
			return exists(step, there, "", nil)
		}
		return d.setLimits(ctx, l)
	})
}

func (d *Driver) updateLimits(ctx context.Context, l *driver.Limits) error {
	if err := checkLimits(l); err != nil {
		return err
	}
	return d.alone(ctx, l.Bdev, func() error { return d.setLimits(ctx, l) })
}

func (d *Driver) deleteLimits(ctx context.Context, l *driver.Limits) error {
	return d.alone(ctx, l.Bdev, func() error {
		there, _, err := d.findLimits(ctx, l.Bdev)
		if err != nil || there == nil {
			return err
		}
		err = d.setLimits(ctx, &driver.Limits{Bdev: l.Bdev})
		if errdefs.ClassOf(err) == errdefs.NotFound {
			return nil // the bdev has gone meanwhile
		}
		return err
	})
}

// setLimits sets all limits in one call. Since v25.09 a bdev that nobody uses takes limits only once;
// it is used for a moment then. Call it while the bdev is held (see alone).
func (d *Driver) setLimits(ctx context.Context, l *driver.Limits) error {
	const method = "bdev_set_qos_limit"
	set := func() error {
		return spdkrpc.BdevSetQosLimit{Name: l.Bdev, RateLimits: spdkrpc.RateLimits{
			RWIOPerSec: l.IOPS, RWMBytesPerSec: l.MiBs, RMBytesPerSec: l.ReadMiBs, WMBytesPerSec: l.WriteMiBs,
		}}.Do(ctx, d.client)
	}
	err := set()
	if notNow(err) {
		used, useErr := d.whileUsed(ctx, l.Bdev, func() error { err = set(); return err })
		if useErr != nil {
			return useErr
		}
		if !used && notNow(err) {
			// Somebody uses it all the time, so it was another change that was in the way.
			return refuse(errdefs.Aborted, method, err, "limits of bdev %s are being changed by somebody else: try again", l.Bdev)
		}
	}
	if notNow(err) {
		return refuse(errdefs.FailedPrecondition, method, err, "limits of bdev %s cannot be changed now", l.Bdev)
	}
	return d.missing(ctx, method, l.Bdev, err)
}

// notNow tells the refusal of limits that may succeed another time. SPDK's text for it is that of an
// errno, and the code that of anything that went wrong with limits.
func notNow(err error) bool {
	r := spdkrpc.Refusal(err)
	return r != nil && (r.Code == spdkrpc.CodeInvalidParams || r.Code == spdkrpc.CodeAgain)
}
