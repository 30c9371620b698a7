// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"context"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// Look implements [driver.Driver]. What may have a half in QEMU, or is told of together with such, is
// found by looking at everything, for QEMU tells of all its devices together.
func (d *Driver) Look(ctx context.Context, keys []driver.Key) (*driver.Observation, error) {
	for _, key := range keys {
		switch key.Type {
		case driver.TypeBdev, driver.TypeLimits, driver.TypePath, driver.TypeCryptoKey, driver.TypeTLSKey:
		default:
			return d.Observe(ctx)
		}
	}
	connections := d.look().connections
	o, err := d.cfg.Inner.Look(ctx, keys)
	if err != nil {
		return nil, err
	}
	return &driver.Observation{Epoch: o.Epoch + connections, Objects: o.Objects}, nil
}
