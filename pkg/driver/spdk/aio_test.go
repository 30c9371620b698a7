// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// TestMadeThoughNobodyCanLook: an aio bdev that was made and cannot be looked at is not one of which
// nothing was done.
func TestMadeThoughNobodyCanLook(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := connected(t, p)
	file := filepath.Join(t.TempDir(), "file.img")
	if err := os.WriteFile(file, make([]byte, 512*64), 0o600); err != nil {
		t.Fatal(err)
	}
	p.refuse("bdev_get_bdevs", -12, "Cannot allocate memory")
	err := do(t, d, driver.Create, &driver.Bdev{
		Name: "a", Kind: driver.BdevAio, BlockSizeBytes: 512, Blocks: 64, Filename: file, UUID: "00000000-0000-4000-8000-00000000000a",
	})
	if !errors.Is(err, errdefs.OutcomeUnknown) || errdefs.ClassOf(err) != errdefs.OutcomeUnknown {
		t.Errorf("got %v", err)
	}
}
