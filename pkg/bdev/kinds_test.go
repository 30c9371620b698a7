// SPDX-License-Identifier: Apache-2.0

package bdev_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/bdevtest"
)

func TestMallocConforms(t *testing.T) {
	for _, o := range []bdev.MallocOptions{
		{BlockSizeBytes: 512, Blocks: 4096},
		{BlockSizeBytes: 4096, Blocks: 64},
		{BlockSizeBytes: 512, Blocks: 1 << 10, Metadata: bdev.Metadata{SizeBytes: 8, Interleaved: true}},
	} {
		t.Run(fmt.Sprint(o.BlockSizeBytes+o.Metadata.SizeBytes), func(t *testing.T) {
			bdevtest.Run(t, bdevtest.Config{Open: func(t *testing.T) bdev.Device {
				d, err := bdev.NewMalloc(o)
				if err != nil {
					t.Fatal(err)
				}
				closeAtEnd(t, d)
				return d
			}})
		})
	}
}

func TestNullConforms(t *testing.T) {
	bdevtest.Run(t, bdevtest.Config{
		Forgets: true,
		Open: func(t *testing.T) bdev.Device {
			d, err := bdev.NewNull(bdev.NullOptions{BlockSizeBytes: 4096, Blocks: 1 << 40})
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
		Resize: func(_ *testing.T, d bdev.Device, blocks uint64) {
			d.(bdev.Resizer).SetBlocks(d.Geometry().Blocks + blocks)
		},
	})
}

func TestAIOConforms(t *testing.T) {
	for _, fallocate := range []bool{false, true} {
		t.Run(fmt.Sprintf("fallocate=%t", fallocate), func(t *testing.T) { aioConforms(t, fallocate) })
	}
}

func aioConforms(t *testing.T, fallocate bool) {
	paths := map[bdev.Device]string{}
	open := func(t *testing.T, path string) bdev.Device {
		d, err := bdev.NewAIO(bdev.AIOOptions{Filename: path, BlockSizeBytes: 512, Fallocate: fallocate})
		if err != nil {
			t.Fatal(err)
		}
		paths[d] = path
		return d
	}
	bdevtest.Run(t, bdevtest.Config{
		Open: func(t *testing.T) bdev.Device {
			d := open(t, sizedFile(t, 4096*512))
			t.Cleanup(func() { _ = d.Close() }) // a second time where Reopen has closed it
			return d
		},
		Resize: func(t *testing.T, d bdev.Device, blocks uint64) {
			blocks += d.Geometry().Blocks
			if err := os.Truncate(paths[d], int64(blocks)*512); err != nil {
				t.Fatal(err)
			}
			d.(bdev.Resizer).SetBlocks(blocks)
		},
		Reopen: func(t *testing.T, d bdev.Device) bdev.Device {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			again := open(t, paths[d])
			closeAtEnd(t, again)
			return again
		},
	})
}

// TestDescConforms runs the suite through a descriptor, on top of another.
func TestDescConforms(t *testing.T) {
	bdevtest.Run(t, bdevtest.Config{Open: func(t *testing.T) bdev.Device {
		r := newRegistry(t)
		if _, err := bdev.CreateMalloc(r, bdev.MallocOptions{Name: "base", BlockSizeBytes: 512, Blocks: 4096}); err != nil {
			t.Fatal(err)
		}
		base := openDesc(t, r, "base")
		if _, err := r.Register(bdev.Spec{Name: "top", Device: base}); err != nil {
			t.Fatal(err)
		}
		return openDesc(t, r, "top")
	}})
}

// openDesc opens a bdev for writing until the test ends.
func openDesc(t testing.TB, r *bdev.Registry, name string) *bdev.Desc {
	t.Helper()
	d, err := r.Open(name, true, bdev.Events{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func closeAtEnd(t *testing.T, d bdev.Device) {
	t.Helper()
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// sizedFile makes a file of that many bytes.
func sizedFile(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}
