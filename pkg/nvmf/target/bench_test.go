// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

// BenchmarkRandom measures 4 KiB random reads and writes over loopback, of a memory volume and of a
// device that is not memory, with one queue. The client keeps the queue full and does as little as it
// can.
func BenchmarkRandom(b *testing.B) {
	for kind, make := range map[string]func() bdev.Device{
		"malloc": func() bdev.Device { return malloc(b, "m0", 4096, 16384) },
		"device": func() bdev.Device { return newRAM(4096, 16384) },
	} {
		for name, op := range map[string]uint8{"read": nvme.IORead, "write": nvme.IOWrite} {
			for _, depth := range []int{1, 32, 128} {
				b.Run(fmt.Sprintf("%s/%s/depth=%d", kind, name, depth), func(b *testing.B) {
					q := pumpQueue(b, make())
					b.SetBytes(4096)
					b.ReportAllocs()
					b.ResetTimer()
					q.pump(op, b.N, depth, 16384)
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "IOPS")
				})
			}
		}
	}
}

// TestNoAllocationPerRequest counts what is allocated over many requests. It is what the client and the
// first use of each request take, however many requests there are.
func TestNoAllocationPerRequest(t *testing.T) {
	for name, op := range map[string]uint8{"read": nvme.IORead, "write": nvme.IOWrite} {
		q := pumpQueue(t, malloc(t, "m0", 4096, 1024))
		const requests, few = 10000, 1000
		q.pump(op, requests, 32, 1024) // all that is used again is there now
		if got := testing.AllocsPerRun(1, func() { q.pump(op, requests, 32, 1024) }); got > few {
			t.Errorf("%s: %.0f allocations for %d requests", name, got, requests)
		}
	}
}

// pumpQueue exports a device and connects a queue to it.
func pumpQueue(tb testing.TB, d bdev.Device) *client {
	tb.Helper()
	tgt := newTarget(tb, target.TransportOptions{MaxQueueDepth: 256})
	at := export(tb, tgt, d)
	a := admin(tb, at, options{cattr: nvme.CATTRNoSQFlowControl})
	return ioQueue(tb, at, a, options{cattr: nvme.CATTRNoSQFlowControl, sqsize: 200}, 1)
}

// pump does n random reads or writes of one block of 4 KiB, depth at a time. All answers have the same
// size, so they are counted, not parsed; the first of each piece is checked.
func (c *client) pump(op uint8, n, depth int, blocks uint64) {
	command, answer, kind := 72, 24+4096, nvme.PDUC2HData
	var data []byte
	if op == nvme.IOWrite {
		command, answer, kind = 72+4096, 24, nvme.PDUCapsuleResp
		data = make([]byte, 4096)
	}
	out := make([]byte, depth*command)
	for i := range depth {
		e := c.rw(op, 1, 0, 1)
		e.SGL().Set(nvme.SGLTransport, 0, 4096)
		copy(out[i*command:], c.capsule(e, data, data != nil))
	}
	r := rand.New(rand.NewPCG(1, 2))
	send := func(count int) {
		for i := range count {
			nvme.CapsuleSQE(out[i*command:]).SetSLBA(r.Uint64N(blocks))
		}
		c.send(out[:count*command])
	}
	in := make([]byte, depth*answer)
	sent := min(depth, n)
	send(sent)
	held := 0
	for done := 0; done < n; {
		m, err := c.conn.Read(in[held:])
		if err != nil {
			c.tb.Fatal(err)
		}
		held += m
		whole := held / answer
		if whole == 0 {
			continue
		}
		if nvme.CH(in).Type() != kind || int(nvme.CH(in).PLEN()) != answer {
			c.tb.Fatalf("answer begins with %x", in[:24])
		}
		held = copy(in, in[whole*answer:held])
		done += whole
		more := min(whole, n-sent)
		if more > 0 {
			send(more)
			sent += more
		}
	}
	if held != 0 {
		c.tb.Fatal(io.ErrUnexpectedEOF)
	}
}
