// SPDX-License-Identifier: Apache-2.0

package bdev_test

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/bdevtest"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

func TestMallocRefusesBadOptions(t *testing.T) {
	for _, tc := range []struct {
		name  string
		o     bdev.MallocOptions
		class errdefs.Class
		errno syscall.Errno
	}{
		{"block size 0", bdev.MallocOptions{Blocks: 8}, errdefs.ResourceExhausted, syscall.ENOMEM},
		{"block size 513", bdev.MallocOptions{BlockSizeBytes: 513, Blocks: 8}, errdefs.InvalidArgument, syscall.EINVAL},
		{"block size 520", bdev.MallocOptions{BlockSizeBytes: 520, Blocks: 8}, errdefs.InvalidArgument, syscall.EINVAL},
		{"no blocks", bdev.MallocOptions{BlockSizeBytes: 512}, errdefs.InvalidArgument, syscall.EINVAL},
		{"2^64 bytes", bdev.MallocOptions{BlockSizeBytes: 512, Blocks: 1 << 55}, errdefs.ResourceExhausted, syscall.ENOMEM},
		{"more than the machine has", bdev.MallocOptions{BlockSizeBytes: 512, Blocks: 1 << 40}, errdefs.ResourceExhausted, syscall.ENOMEM},
		{"metadata 7", bdev.MallocOptions{BlockSizeBytes: 512, Blocks: 8, Metadata: bdev.Metadata{SizeBytes: 7}}, errdefs.InvalidArgument, syscall.EINVAL},
		{"protection 9", bdev.MallocOptions{BlockSizeBytes: 512, Blocks: 8, Metadata: bdev.Metadata{SizeBytes: 8, DIFType: 9}}, errdefs.InvalidArgument, syscall.EINVAL},
		{"protection without metadata", bdev.MallocOptions{BlockSizeBytes: 512, Blocks: 8, Metadata: bdev.Metadata{DIFType: 1}}, errdefs.InvalidArgument, syscall.EINVAL},
		{"physical 1000", bdev.MallocOptions{BlockSizeBytes: 512, Blocks: 8, PhysicalBlockSizeBytes: 1000}, errdefs.InvalidArgument, syscall.EINVAL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := bdev.NewMalloc(tc.o)
			wantErrno(t, err, tc.class, tc.errno)
		})
	}
	if _, err := bdev.CreateMalloc(newRegistry(t), bdev.MallocOptions{Name: "m", BlockSizeBytes: 1536, Blocks: 1}); err != nil {
		t.Errorf("block size 1536 is fine: %v", err)
	}
}

func TestNullRefusesBadOptions(t *testing.T) {
	for _, o := range []bdev.NullOptions{
		{Blocks: 8},
		{BlockSizeBytes: 500, Blocks: 8},
		{BlockSizeBytes: 512},
		{BlockSizeBytes: 512, Blocks: 8, PhysicalBlockSizeBytes: 1000},
		{BlockSizeBytes: 512, Blocks: 8, Metadata: bdev.Metadata{SizeBytes: 5}},
	} {
		_, err := bdev.NewNull(o)
		wantErrno(t, err, errdefs.InvalidArgument, syscall.EINVAL)
	}
}

func TestAIORefusesBadOptions(t *testing.T) {
	file, odd, dir := sizedFile(t, 4<<20), sizedFile(t, 512*3), t.TempDir()
	for _, tc := range []struct {
		name  string
		o     bdev.AIOOptions
		errno syscall.Errno
	}{
		{"missing", bdev.AIOOptions{Filename: dir + "/none", BlockSizeBytes: 512}, syscall.ENOENT},
		{"directory", bdev.AIOOptions{Filename: dir, BlockSizeBytes: 512}, syscall.EISDIR},
		{"directory for reading", bdev.AIOOptions{Filename: dir, BlockSizeBytes: 512, ReadOnly: true}, syscall.EINVAL},
		{"no block size", bdev.AIOOptions{Filename: file}, syscall.EINVAL},
		{"block size 500", bdev.AIOOptions{Filename: file, BlockSizeBytes: 500}, syscall.EINVAL},
		{"block size 256", bdev.AIOOptions{Filename: file, BlockSizeBytes: 256}, syscall.EINVAL},
		{"size not a multiple", bdev.AIOOptions{Filename: odd, BlockSizeBytes: 4096}, syscall.EINVAL},
		{"nowait", bdev.AIOOptions{Filename: file, BlockSizeBytes: 512, NoWait: true}, syscall.EOPNOTSUPP},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := bdev.NewAIO(tc.o)
			var errno syscall.Errno
			if !errors.As(err, &errno) || errno != tc.errno {
				t.Errorf("error %v, want errno %d", err, tc.errno)
			}
		})
	}
}

func TestAIORescan(t *testing.T) {
	r, file := newRegistry(t), sizedFile(t, 4<<20)
	if _, err := bdev.CreateAIO(r, bdev.AIOOptions{Name: "a", Filename: file, BlockSizeBytes: 512}); err != nil {
		t.Fatal(err)
	}
	blocks := func() uint64 {
		info, err := r.Lookup("a")
		if err != nil {
			t.Fatal(err)
		}
		return info.Geometry.Blocks
	}
	rescan := func(size int64) error {
		if err := os.Truncate(file, size); err != nil {
			t.Fatal(err)
		}
		return bdev.RescanAIO(t.Context(), r, "a")
	}
	if err := rescan(8 << 20); err != nil || blocks() != 16384 {
		t.Fatalf("grown: %v, %d blocks", err, blocks())
	}
	wantErrno(t, rescan(2<<20), errdefs.FailedPrecondition, syscall.EBUSY)
	wantErrno(t, rescan(2<<20+100), errdefs.FailedPrecondition, syscall.EBUSY)
	if blocks() != 16384 {
		t.Errorf("%d blocks after a shrink that was refused", blocks())
	}
	malloc(t, r, "m")
	wantErrno(t, bdev.RescanAIO(t.Context(), r, "m"), errdefs.NotFound, syscall.ENODEV)
	wantErrno(t, bdev.RescanAIO(t.Context(), r, "none"), errdefs.NotFound, syscall.ENODEV)
	if err := rescan(0); err != nil {
		t.Fatal(err)
	}
	_, err := r.Lookup("a")
	wantErrno(t, err, errdefs.NotFound, syscall.ENODEV)
}

func TestAIOReadOnlyAndCutFile(t *testing.T) {
	r, file := newRegistry(t), sizedFile(t, 1<<20)
	if _, err := bdev.CreateAIO(r, bdev.AIOOptions{Name: "a", Filename: file, BlockSizeBytes: 512, ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	d := openDesc(t, r, "a")
	data := make([]byte, 512)
	for _, op := range []bdev.Op{bdev.OpWrite, bdev.OpWriteZeroes, bdev.OpUnmap} {
		var p []byte
		if op == bdev.OpWrite {
			p = data
		}
		if err := bdevtest.Do(t, d, op, 0, 1, p); !errors.Is(err, bdev.ErrReadOnly) {
			t.Errorf("operation %d: %v, want %v", op, err, bdev.ErrReadOnly)
		}
	}
	if err := os.Truncate(file, 512); err != nil {
		t.Fatal(err)
	}
	if err := bdevtest.Do(t, d, bdev.OpRead, 1, 1, data); err == nil {
		t.Error("a read behind the end of a cut file succeeded")
	}
	if err := bdevtest.Do(t, d, bdev.OpRead, 0, 1, data); err != nil {
		t.Errorf("a read before the cut: %v", err)
	}
}

// TestAIOKeepsOverlappingWritesInOrder: of writes in flight to the same blocks, the one that came last
// stays.
func TestAIOKeepsOverlappingWritesInOrder(t *testing.T) {
	const writes = 200
	r, file := newRegistry(t), sizedFile(t, 1<<20)
	if _, err := bdev.CreateAIO(r, bdev.AIOOptions{Name: "a", Filename: file, BlockSizeBytes: 512}); err != nil {
		t.Fatal(err)
	}
	d := openDesc(t, r, "a")
	done := make(chan error, writes)
	for i := range writes {
		data := bytes.Repeat([]byte{byte(i)}, 32*512)
		d.Submit(&bdev.Request{
			Op: bdev.OpWrite, Block: uint64(i % 32), Count: 32, Data: data,
			Done: func(_ *bdev.Request, err error) { done <- err },
		})
	}
	for range writes {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	last := make([]byte, 512)
	for block := range uint64(32 + 31) {
		if err := bdevtest.Do(t, d, bdev.OpRead, block, 1, last); err != nil {
			t.Fatal(err)
		}
		want := -1
		for i := range writes {
			if first := uint64(i % 32); first <= block && block < first+32 {
				want = i
			}
		}
		if last[0] != byte(want) || last[511] != byte(want) {
			t.Errorf("block %d is of write %d, want %d", block, last[0], want)
		}
	}
}
