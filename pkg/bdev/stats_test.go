// SPDX-License-Identifier: Apache-2.0

package bdev_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/bdevtest"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

func TestStatsCountWhatUsersDo(t *testing.T) {
	r := newRegistry(t)
	malloc(t, r, "m")
	d, _ := r.Open("m", true, bdev.Events{})
	block := make([]byte, 512)
	for range 3 {
		_ = bdevtest.Do(t, d, bdev.OpWrite, 0, 1, block)
	}
	_ = bdevtest.Do(t, d, bdev.OpRead, 0, 1, block)
	_ = bdevtest.Do(t, d, bdev.OpUnmap, 0, 64, nil)
	_ = bdevtest.Do(t, d, bdev.OpWriteZeroes, 0, 64, nil)
	_ = bdevtest.Do(t, d, bdev.OpFlush, 0, 0, nil)
	block[0] = 1
	_ = bdevtest.Do(t, d, bdev.OpCompare, 0, 1, block)
	c := d.NewCounter()
	c.CountRead(4096, 5*time.Microsecond)
	c.CountRead(4096, 3*time.Hour)
	c.Close()
	_ = d.Close() // what was counted stays
	s, err := r.Stats("m", bdev.ResetMaxMin)
	if err != nil {
		t.Fatal(err)
	}
	if s.Read.Ops != 3 || s.Read.Bytes != 512+8192 || s.Write.Ops != 3 || s.Write.Bytes != 1536 ||
		s.Unmap.Ops != 1 || s.Unmap.Bytes != 64*512 || s.Miscompared != 1 || s.Failed != 0 {
		t.Errorf("statistics %+v", s)
	}
	if s.Read.MaxTicks != uint64(3*time.Hour) || s.Read.MinTicks == 0 || s.Read.MinTicks > 5000 && s.Read.MinTicks > s.Read.MaxTicks {
		t.Errorf("extremes of reads: %+v", s.Read)
	}
	if s, _ = r.Stats("m", bdev.ResetAll); s.Read.MaxTicks != 0 || s.Read.MinTicks != 0 || s.Read.Ops != 3 {
		t.Errorf("after the extremes were reset: %+v", s.Read)
	}
	if s, _ = r.Stats("m", bdev.ResetNone); s != (bdev.Stats{}) {
		t.Errorf("after everything was reset: %+v", s)
	}
	_, err = r.Stats("none", bdev.ResetNone)
	wantErrno(t, err, errdefs.NotFound, syscall.ENODEV)
}

func TestDescChecksRequests(t *testing.T) {
	r := newRegistry(t)
	malloc(t, r, "m")
	d := openDesc(t, r, "m")
	block := make([]byte, 512)
	for _, tc := range []struct {
		name         string
		op           bdev.Op
		block, count uint64
		data         []byte
		want         error
	}{
		{"behind the end", bdev.OpRead, 64, 1, block, bdev.ErrRange},
		{"over the end", bdev.OpRead, 63, 2, make([]byte, 1024), bdev.ErrRange},
		{"sum wraps", bdev.OpWriteZeroes, 1, ^uint64(0), nil, bdev.ErrRange},
		{"block wraps", bdev.OpUnmap, ^uint64(0), 2, nil, bdev.ErrRange},
		{"too little data", bdev.OpWrite, 0, 2, block, bdev.ErrRange},
		{"too much data", bdev.OpCompare, 0, 1, make([]byte, 1024), bdev.ErrRange},
		{"no operation", 0, 0, 1, block, bdev.ErrOp},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := bdevtest.Do(t, d, tc.op, tc.block, tc.count, tc.data); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
	reader, _ := r.Open("m", false, bdev.Events{})
	if err := bdevtest.Do(t, reader, bdev.OpWrite, 0, 1, block); !errors.Is(err, bdev.ErrReadOnly) {
		t.Errorf("write by a reader: %v", err)
	}
	_ = reader.Close()
	if m, ok := d.Memory(); !ok || len(m.Bytes(2, 3)) != 3*512 {
		t.Error("a malloc bdev is not memory")
	}
}

func TestSubmitDoesNotAllocate(t *testing.T) {
	r := newRegistry(t)
	malloc(t, r, "m")
	d := openDesc(t, r, "m")
	req := &bdev.Request{Op: bdev.OpRead, Count: 1, Data: make([]byte, 512), Done: func(*bdev.Request, error) {}}
	if n := testing.AllocsPerRun(100, func() { d.Submit(req) }); n != 0 {
		t.Errorf("%v allocations for a read", n)
	}
}

func BenchmarkSubmitRead4K(b *testing.B) {
	r := bdev.NewRegistry()
	_, err := bdev.CreateMalloc(r, bdev.MallocOptions{Name: "m", BlockSizeBytes: 4096, Blocks: 1024})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("counted", func(b *testing.B) {
		d := openDesc(b, r, "m")
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			req := &bdev.Request{Op: bdev.OpRead, Count: 1, Data: make([]byte, 4096), Done: func(*bdev.Request, error) {}}
			for pb.Next() {
				d.Submit(req)
			}
		})
	})
	b.Run("bare", func(b *testing.B) {
		m, err := bdev.NewMalloc(bdev.MallocOptions{BlockSizeBytes: 4096, Blocks: 1024})
		if err != nil {
			b.Fatal(err)
		}
		b.RunParallel(func(pb *testing.PB) {
			req := &bdev.Request{Op: bdev.OpRead, Count: 1, Data: make([]byte, 4096), Done: func(*bdev.Request, error) {}}
			for pb.Next() {
				m.Submit(req)
			}
		})
		_ = m.Close()
	})
	_ = r.Unregister(b.Context(), "m", "")
}
