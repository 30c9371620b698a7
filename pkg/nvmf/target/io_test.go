// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// devices are the kinds of device by how requests end: in memory, at once, later.
func devices(tb testing.TB) map[string]func() (bdev.Device, *ram) {
	tb.Helper()
	return map[string]func() (bdev.Device, *ram){
		"mapped": func() (bdev.Device, *ram) { d := newRAM(512, 4096); return mapped{d}, d },
		"moody":  func() (bdev.Device, *ram) { d := newRAM(512, 4096); return moody{mapped{d}, new(atomic.Int64)}, d },
		"inline": func() (bdev.Device, *ram) { d := newRAM(512, 4096); return d, d },
		"later": func() (bdev.Device, *ram) {
			d := newRAM(512, 4096)
			s := newSlow(d)
			close(s.gate)
			return s, d
		},
	}
}

// TestLimitedMemory writes to a memory volume that has limits, where data must outlast the request.
func TestLimitedMemory(t *testing.T) {
	r := bdev.NewRegistry()
	if _, err := bdev.CreateMalloc(r, bdev.MallocOptions{Name: "m", BlockSizeBytes: 512, Blocks: 1024}); err != nil {
		t.Fatal(err)
	}
	d, err := r.Open("m", true, bdev.Events{})
	must(t, err)
	must(t, r.SetLimits("m", bdev.Limits{IOPS: 1000}))
	tgt := newTarget(t, target.TransportOptions{})
	at := export(t, tgt, d)
	q := ioQueue(t, at, admin(t, at, options{}), options{}, 1)
	for i := range uint64(8) {
		data := random(512 + int(i))[:512]
		if got := q.do(q.rw(nvme.IOWrite, 1, i, 1), data, true); got.status != nvme.Success {
			t.Fatalf("write: %v", got.status)
		}
		if got := q.read(1, i, 1, 512); !bytes.Equal(got.data, data) {
			t.Errorf("block %d is not what was written", i)
		}
	}
}

// TestIO writes and reads back in every size and manner, with all combinations of digests.
func TestIO(t *testing.T) {
	for kind, make := range devices(t) {
		for dgst := range uint8(4) {
			for _, cattr := range []uint8{0, nvme.CATTRNoSQFlowControl} {
				t.Run(fmt.Sprintf("%s/%d/%d", kind, dgst, cattr), func(t *testing.T) {
					d, mem := make()
					tgt := newTarget(t, target.TransportOptions{})
					at := export(t, tgt, d)
					o := options{dgst: dgst, cattr: cattr, hpda: 3}
					a := admin(t, at, o)
					q := ioQueue(t, at, a, o, 1)
					for _, size := range []int{512, 4096, 8192, 131072} {
						data := random(size)
						for _, inCapsule := range []bool{true, false} {
							if inCapsule && size > 4096 {
								continue
							}
							q.piece = q.maxH2C
							if size == 8192 {
								q.piece = 1000
							}
							if got := q.do(q.rw(nvme.IOWrite, 1, 7, uint32(size/512)), data, inCapsule); got.status != nvme.Success {
								t.Fatalf("write %d: %v", size, got.status)
							}
							if !bytes.Equal(mem.b[7*512:7*512+size], data) {
								t.Fatalf("write %d has not arrived", size)
							}
							got := q.read(1, 7, uint32(size/512), uint32(size))
							if got.status != nvme.Success || !bytes.Equal(got.data, data) {
								t.Fatalf("read %d: %v, %d bytes", size, got.status, len(got.data))
							}
							if got.merged != (cattr != 0) {
								t.Errorf("completion in the data: %t", got.merged)
							}
							if got := q.do(q.rw(nvme.IOCompare, 1, 7, uint32(size/512)), data, inCapsule); got.status != nvme.Success {
								t.Errorf("compare %d: %v", size, got.status)
							}
							data[size-1]++
							if got := q.do(q.rw(nvme.IOCompare, 1, 7, uint32(size/512)), data, inCapsule); got.status.Code() != nvme.StatusCompareFailure {
								t.Errorf("compare with other data: %v", got.status)
							}
						}
					}
				})
			}
		}
	}
}

func TestOtherCommands(t *testing.T) {
	for kind, make := range devices(t) {
		t.Run(kind, func(t *testing.T) {
			d, mem := make()
			tgt := newTarget(t, target.TransportOptions{})
			at := export(t, tgt, d)
			a := admin(t, at, options{})
			q := ioQueue(t, at, a, options{}, 1)
			copy(mem.b, random(len(mem.b)))

			if got := q.do(q.sqe(nvme.IOFlush, 1), nil, false); got.status != nvme.Success || mem.flushes != 1 {
				t.Errorf("flush: %v, %d", got.status, mem.flushes)
			}
			e := q.rw(nvme.IOWrite, 1, 0, 1)
			e.SetCDW(12, e.CDW(12)|nvme.CDW12FUA)
			if got := q.do(e, random(512), true); got.status != nvme.Success || mem.flushes != 2 {
				t.Errorf("FUA: %v, %d flushes", got.status, mem.flushes)
			}
			if got := q.do(q.rw(nvme.IOWriteZeroes, 1, 10, 5), nil, false); got.status != nvme.Success || !allZero(mem.b[5120:5120+5*512]) || allZero(mem.b[5120+5*512:][:512]) {
				t.Errorf("write zeroes: %v", got.status)
			}
			e = q.sqe(0, 1)
			e.SetDSM(3)
			ranges := nvme.EncodeDSM(nil, []nvme.DSMRange{{Blocks: 2, SLBA: 100}, {}, {Blocks: 4, SLBA: 200}})
			if got := q.do(e, ranges, true); got.status != nvme.Success || mem.unmaps != 2 || !allZero(mem.b[100*512:102*512]) || !allZero(mem.b[200*512:204*512]) {
				t.Errorf("deallocate: %v, %d", got.status, mem.unmaps)
			}
			e = q.sqe(0, 1)
			e.SetDSM(1)
			e.SetCDW(11, 1)
			if got := q.do(e, ranges[:16], true); got.status != nvme.Success || mem.unmaps != 2 {
				t.Errorf("hint: %v, %d", got.status, mem.unmaps)
			}
			last := q.do(q.sqe(nvme.IOFlush, 1), nil, false)
			again := q.do(q.sqe(nvme.IOFlush, 1), nil, false)
			if again.sqhd != (last.sqhd+1)%32 {
				t.Errorf("SQHD goes from %d to %d", last.sqhd, again.sqhd)
			}
			eventually(t, "commands are counted", func() bool { return tgt.Stats().CompletedNVMeIO >= 7 })
		})
	}
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

func TestRefusedCommands(t *testing.T) {
	for kind, make := range devices(t) {
		t.Run(kind, func(t *testing.T) {
			d, _ := make()
			tgt := newTarget(t, target.TransportOptions{})
			at := export(t, tgt, d)
			a := admin(t, at, options{})
			q := ioQueue(t, at, a, options{}, 1)
			flagged := func(e nvme.SQE, flag uint32) nvme.SQE {
				e.SetCDW(12, e.CDW(12)|flag)
				return e
			}
			fused := q.rw(nvme.IOCompare, 1, 0, 1)
			fused.SetFlags(3, 1)
			lone := q.rw(nvme.IOWrite, 1, 0, 1)
			lone.SetFlags(nvme.FuseSecond, 1)
			copying := func(from uint64, to uint64, blocks uint32) (nvme.SQE, []byte) {
				e := q.sqe(0, 1)
				e.SetCopy(to, 1)
				return e, nvme.EncodeCopy(nil, []nvme.CopyRange{{SLBA: from, Blocks: blocks}})
			}
			farFrom, farFromData := copying(4096, 0, 1)
			farTo, farToData := copying(0, 4095, 2)
			many, manyData := copying(0, 0, 257)
			twice, twiceData := copying(0, 0, 1)
			twice.SetCopy(0, 2)
			dsm := func(n int) nvme.SQE { e := q.sqe(0, 1); e.SetDSM(n); return e }
			for _, c := range []struct {
				what string
				e    nvme.SQE
				room uint32
				data []byte
				want nvme.Status
			}{
				{"read beyond the end", q.rw(nvme.IORead, 1, 4095, 2), 1024, nil, nvme.StatusLBAOutOfRange},
				{"read at the last block there is", q.rw(nvme.IORead, 1, 1<<64-1, 1), 512, nil, nvme.StatusLBAOutOfRange},
				{"read into too little room", q.rw(nvme.IORead, 1, 0, 2), 512, nil, nvme.StatusSGLDataLengthInvalid},
				{"read without room", q.rw(nvme.IORead, 1, 0, 1), 0, nil, nvme.StatusSGLDataLengthInvalid},
				{"read nsid 0", q.rw(nvme.IORead, 0, 0, 1), 512, nil, nvme.StatusInvalidNamespace},
				{"read nsid 2", q.rw(nvme.IORead, 2, 0, 1), 512, nil, nvme.StatusInvalidNamespace},
				{"read all nsids", q.rw(nvme.IORead, nvme.NSIDBroadcast, 0, 1), 512, nil, nvme.StatusInvalidNamespace},
				{"flush all nsids", q.sqe(nvme.IOFlush, nvme.NSIDBroadcast), 0, nil, nvme.StatusInvalidNamespace},
				{"write beyond the end", q.rw(nvme.IOWrite, 1, 4096, 1), 0, random(512), nvme.StatusLBAOutOfRange},
				{"write of too little", q.rw(nvme.IOWrite, 1, 0, 2), 0, random(512), nvme.StatusSGLDataLengthInvalid},
				{"write of nothing", q.rw(nvme.IOWrite, 1, 0, 1), 0, nil, nvme.StatusSGLDataLengthInvalid},
				{"PRACT", flagged(q.rw(nvme.IORead, 1, 0, 1), nvme.CDW12PRACT), 512, nil, nvme.StatusInvalidField},
				{"PRCHK", flagged(q.rw(nvme.IOWrite, 1, 0, 1), nvme.CDW12PRCHK), 0, random(512), nvme.StatusInvalidField},
				{"fused in no order", fused, 0, random(512), nvme.StatusInvalidField},
				{"second of a pair alone", lone, 0, random(512), nvme.StatusAbortMissingFused},
				{"copy from beyond the end", farFrom, 0, farFromData, nvme.StatusLBAOutOfRange},
				{"copy beyond the end", farTo, 0, farToData, nvme.StatusLBAOutOfRange},
				{"copy of too much", many, 0, manyData, nvme.StatusCommandSizeExceeded},
				{"copy of two ranges", twice, 0, append(twiceData, twiceData...), nvme.StatusCommandSizeExceeded},
				{"copy of nothing", func() nvme.SQE { e := q.sqe(0, 1); e.SetCopy(0, 1); return e }(), 0, nil, nvme.StatusSGLDataLengthInvalid},
				{"unknown opcode", q.sqe(0x7E, 1), 0, nil, nvme.StatusInvalidOpcode},
				{"reservation", q.sqe(0x0D, 1), 0, random(16), nvme.StatusInvalidOpcode},
				{"zeroes that deallocate", flagged(q.rw(nvme.IOWriteZeroes, 1, 0, 1), nvme.CDW12DEAC), 0, nil, nvme.StatusInvalidField},
				{"zeroes beyond the end", q.rw(nvme.IOWriteZeroes, 1, 4000, 97), 0, nil, nvme.StatusLBAOutOfRange},
				{"deallocate beyond the end", dsm(1), 0, nvme.EncodeDSM(nil, []nvme.DSMRange{{Blocks: 1, SLBA: 4096}}), nvme.StatusLBAOutOfRange},
				{"deallocate without ranges", dsm(2), 0, make16(), nvme.StatusSGLDataLengthInvalid},
				{"deallocate nothing", dsm(1), 0, nil, nvme.StatusSGLDataLengthInvalid},
				{"property on an I/O queue", func() nvme.SQE { e := q.sqe(0, 0); e.SetPropertyGet(0); return e }(), 0, nil, nvme.StatusInvalidOpcode},
			} {
				var got answer
				if c.room > 0 {
					got = q.fetch(c.e, c.room)
				} else {
					got = q.do(c.e, c.data, true)
				}
				if got.status.Code() != c.want || !got.status.DNR() {
					t.Errorf("%s: %v, want %v", c.what, got.status, c.want)
				}
			}
			if got := q.read(1, 0, 1, 512); got.status != nvme.Success {
				t.Errorf("the queue does not go on: %v", got.status)
			}
		})
	}
}

// make16 is one range of Dataset Management that names nothing.
func make16() []byte { return make([]byte, 16) }
