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

// BenchmarkRandomRead measures 4 KiB random reads over loopback from a memory volume with one queue.
// The client keeps the queue full and does as little as it can.
func BenchmarkRandomRead(b *testing.B) {
	for kind, make := range map[string]func() bdev.Device{
		"malloc": func() bdev.Device { return malloc(b, "m0", 4096, 16384) },
		"device": func() bdev.Device { return newRAM(4096, 16384) },
	} {
		for _, depth := range []int{1, 32, 128} {
			b.Run(fmt.Sprintf("%s/depth=%d", kind, depth), func(b *testing.B) {
				tgt := newTarget(b, target.TransportOptions{MaxQueueDepth: 256})
				at := export(b, tgt, make())
				o := options{cattr: nvme.CATTRNoSQFlowControl, sqsize: 200}
				a := admin(b, at, options{cattr: nvme.CATTRNoSQFlowControl})
				q := ioQueue(b, at, a, o, 1)
				b.SetBytes(4096)
				b.ReportAllocs()
				b.ResetTimer()
				q.pump(b.N, depth, 16384)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "IOPS")
			})
		}
	}
}

// pump does n random reads of one block of 4 KiB, depth at a time. All answers have the same size, so
// they are counted, not parsed; the first of each piece is checked.
func (c *client) pump(n, depth int, blocks uint64) {
	const answerSize = 24 + 4096
	const commandSize = 72
	out := make([]byte, depth*commandSize)
	for i := range depth {
		e := c.rw(nvme.IORead, 1, 0, 1)
		e.SGL().Set(nvme.SGLTransport, 0, 4096)
		copy(out[i*commandSize:], c.capsule(e, nil, false))
	}
	r := rand.New(rand.NewPCG(1, 2))
	send := func(count int) {
		for i := range count {
			nvme.CapsuleSQE(out[i*commandSize:]).SetSLBA(r.Uint64N(blocks))
		}
		c.send(out[:count*commandSize])
	}
	in := make([]byte, depth*answerSize)
	sent := min(depth, n)
	send(sent)
	held := 0
	for done := 0; done < n; {
		m, err := c.conn.Read(in[held:])
		if err != nil {
			c.tb.Fatal(err)
		}
		held += m
		whole := held / answerSize
		if whole == 0 {
			continue
		}
		if nvme.CH(in).Type() != nvme.PDUC2HData || nvme.CH(in).PLEN() != answerSize {
			c.tb.Fatalf("answer begins with %x", in[:24])
		}
		held = copy(in, in[whole*answerSize:held])
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
