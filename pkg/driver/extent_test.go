// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

func TestADiskNeedsAsMuchAsHostsWereShown(t *testing.T) {
	extent := driver.Extent{Blocks: 64, BlockSizeBytes: 512}
	for _, row := range []struct {
		what  string
		shown driver.Extent
		bdev  driver.Bdev
		suits bool
	}{
		{"as much", extent, driver.Bdev{Blocks: 64, BlockSizeBytes: 512}, true},
		{"more", extent, driver.Bdev{Blocks: 65, BlockSizeBytes: 512}, true},
		{"less", extent, driver.Bdev{Blocks: 63, BlockSizeBytes: 512}, false},
		{"other blocks", extent, driver.Bdev{Blocks: 64, BlockSizeBytes: 4096}, false},
		{"not known", driver.Extent{}, driver.Bdev{Blocks: 1, BlockSizeBytes: 512}, true},
	} {
		for _, o := range []driver.Picky{
			&driver.Namespace{Shown: row.shown}, &driver.VirtioBlk{Shown: row.shown}, &driver.VirtioScsiTarget{Shown: row.shown},
		} {
			err := o.Suits(&row.bdev)
			if (err == nil) != row.suits || err != nil && errdefs.ClassOf(err) != errdefs.FailedPrecondition {
				t.Errorf("%T, %s: %v", o, row.what, err)
			}
			if err := o.Suits(&driver.Subsystem{}); err != nil {
				t.Errorf("%T in a subsystem: %v", o, err)
			}
		}
	}
}
