// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

// swap sends a compare-and-write pair of one block in one piece and returns both answers.
func (c *client) swap(old, replacement []byte, inCapsule bool) (compare, write answer) {
	c.tb.Helper()
	var out []byte
	var cids [2]uint16
	data := [2][]byte{old, replacement}
	for i, opc := range []uint8{nvme.IOCompare, nvme.IOWrite} {
		e := c.rw(opc, 1, 3, 1)
		e.SetFlags(uint8(i)+nvme.FuseFirst, 1)
		e.SGL().Set(nvme.SGLTransport, 0, 512)
		cids[i] = e.CID()
		out = append(out, c.capsule(e, data[i], inCapsule)...)
	}
	c.send(out)
	var answers [2]answer
	for n := 0; n < 2; {
		fr, b, err := c.pdu()
		if err != nil {
			c.tb.Error(err)
			return
		}
		switch fr.Type {
		case nvme.PDUR2T:
			h := nvme.DataHeader(b)
			c.sendData(h, data[h.CCCID()-cids[0]])
		case nvme.PDUCapsuleResp:
			e := nvme.CapsuleCQE(b)
			answers[e.CID()-cids[0]].status = e.Status()
			n++
		}
	}
	return answers[0], answers[1]
}

func TestCompareAndWrite(t *testing.T) {
	for kind, make := range devices(t) {
		t.Run(kind, func(t *testing.T) {
			d, mem := make()
			tgt := newTarget(t, target.TransportOptions{})
			at := export(t, tgt, d)
			q := ioQueue(t, at, admin(t, at, options{}), options{}, 1)
			a, b := random(512), random(513)[:512]
			copy(mem.b[3*512:], a)
			for _, inCapsule := range []bool{true, false} {
				if c, w := q.swap(a, b, inCapsule); !c.status.OK() || !w.status.OK() || !bytes.Equal(mem.b[3*512:4*512], b) {
					t.Errorf("swap: %v, %v", c.status, w.status)
				}
				if c, w := q.swap(a, a, inCapsule); c.status.Code() != nvme.StatusCompareFailure || w.status.Code() != nvme.StatusAbortFailedFused || !bytes.Equal(mem.b[3*512:4*512], b) {
					t.Errorf("swap of something else: %v, %v", c.status, w.status)
				}
				a, b = b, a
			}
			e := q.rw(nvme.IOCompare, 1, 3, 1)
			e.SetFlags(nvme.FuseFirst, 1)
			q.send(q.capsule(e, a, true))
			flush := q.sqe(nvme.IOFlush, 1)
			q.send(q.capsule(flush, nil, false))
			if got, err := q.collect(e.CID(), nil); err != nil || got.status.Code() != nvme.StatusAbortMissingFused {
				t.Errorf("half a pair: %v, %v", got.status, err)
			}
			if got, err := q.collect(flush.CID(), nil); err != nil || got.status != nvme.Success {
				t.Errorf("the command after it: %v, %v", got.status, err)
			}
		})
	}
}

// TestCompareAndWriteIsAtomic counts in a block by several hosts, while others write it as it is.
func TestCompareAndWriteIsAtomic(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	mem := newRAM(512, 16)
	d := newSlow(mem)
	close(d.gate)
	at := export(t, tgt, d)
	const hosts, rounds = 3, 40
	var wg sync.WaitGroup
	for range hosts {
		q := ioQueue(t, at, admin(t, at, options{}), options{}, 1)
		wg.Go(func() {
			for n := 0; n < rounds; {
				old := q.read(1, 3, 1, 512).data
				next := bytes.Clone(old)
				binary.LittleEndian.PutUint64(next, binary.LittleEndian.Uint64(old)+1)
				if c, w := q.swap(old, next, true); c.status.OK() && w.status.OK() {
					n++
				}
				q.do(q.rw(nvme.IOWrite, 1, 4, 1), next, true)
			}
		})
	}
	wg.Wait()
	if got := binary.LittleEndian.Uint64(mem.b[3*512:]); got != hosts*rounds {
		t.Errorf("counted to %d, want %d", got, hosts*rounds)
	}
}

func TestCopy(t *testing.T) {
	for kind, make := range devices(t) {
		t.Run(kind, func(t *testing.T) {
			d, mem := make()
			tgt := newTarget(t, target.TransportOptions{})
			at := export(t, tgt, d)
			q := ioQueue(t, at, admin(t, at, options{}), options{}, 1)
			copy(mem.b, random(64*512))
			e := q.sqe(0, 1)
			e.SetCopy(1000, 1)
			if got := q.do(e, nvme.EncodeCopy(nil, []nvme.CopyRange{{SLBA: 2, Blocks: 60}}), true); got.status != nvme.Success {
				t.Fatal(got.status)
			}
			if !bytes.Equal(mem.b[1000*512:1060*512], mem.b[2*512:62*512]) {
				t.Error("the copy differs")
			}
		})
	}
}
