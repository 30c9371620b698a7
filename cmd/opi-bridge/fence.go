// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// dataPlane is a driver with everything that a driver may offer.
type dataPlane interface {
	driver.Driver
	driver.Statter
	driver.Resetter
	driver.HostCounter
	driver.Capable
}

// fencedDataPlane changes the data plane only while this process has the lease. What a bridge had sent
// before it was frozen may still arrive after another has taken over: that one's audit finds it.
type fencedDataPlane struct {
	dataPlane
	lease *tenure
}

// Apply is that of driver.Driver.
func (d fencedDataPlane) Apply(ctx context.Context, steps []driver.Step) []error {
	if err := d.lease.confirm(ctx); err != nil {
		errs := make([]error, len(steps))
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	return d.dataPlane.Apply(ctx, steps)
}

// ResetController is that of driver.Resetter.
func (d fencedDataPlane) ResetController(ctx context.Context, controller string) error {
	if err := d.lease.confirm(ctx); err != nil {
		return err
	}
	return d.dataPlane.ResetController(ctx, controller)
}
