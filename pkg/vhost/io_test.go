// SPDX-License-Identifier: Apache-2.0

package vhost_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// What requests are called, and how they end.
const (
	opIn, opOut, opFlush, opGetID, opDiscard, opWriteZeroes = 0, 1, 4, 8, 11, 13

	ok, ioErr, unsupported = 0, 1, 2
)

// ranges is the data of a discard.
func ranges(sector uint64, sectors, flags uint32) []byte {
	b := binary.LittleEndian.AppendUint64(nil, sector)
	b = binary.LittleEndian.AppendUint32(b, sectors)
	return binary.LittleEndian.AppendUint32(b, flags)
}

// TestRequests runs every kind of request on every kind of ring, memory and device.
func TestRequests(t *testing.T) {
	for _, device := range []string{"malloc", "limited", "aio"} {
		for _, o := range []guestOptions{
			{},
			{indirect: true},
			{eventIdx: true, seal: true},
			{indirect: true, eventIdx: true, regions: 3, inflight: true},
			{regions: 2, seal: true, inflight: true, size: 16},
		} {
			t.Run(fmt.Sprintf("%s %+v", device, o), func(t *testing.T) {
				w := newWorld(t)
				switch device {
				case "aio":
					w.aio("d", 16<<20)
				default:
					w.malloc("d", 16<<20)
				}
				if device == "limited" {
					must(t, w.registry.SetLimits("d", bdev.Limits{IOPS: 20000}))
				}
				g := newGuest(t, o)
				g.connect(w.controller("c", "d"))
				allRequests(t, g.queues[0])
			})
		}
	}
}

func allRequests(t *testing.T, q *virtqueue) {
	for _, split := range []int{0, 4096, 512, 7000} {
		for n, size := range []int{512, 4096, 9 * 512, 64 << 10} {
			if split > 0 && size/split > 10 { // the smallest ring has 16 descriptors
				continue
			}
			sector, data := uint64(n*200+split), pattern(size, byte(split+n))
			r := q.do(&ioRequest{op: opOut, sector: sector, out: data, split: split}).want(t, ok)
			if r.written != 1 {
				t.Errorf("a write wrote %d bytes to the guest", r.written)
			}
			q.do(&ioRequest{op: opFlush}).want(t, ok)
			r = q.do(&ioRequest{op: opIn, sector: sector, in: size, split: split}).want(t, ok)
			if !bytes.Equal(r.data, data) || int(r.written) != size+1 {
				t.Fatalf("%s: not what was written, or %d bytes", r, r.written)
			}
		}
	}
	if r := q.do(&ioRequest{op: opGetID, in: 20}).want(t, ok); string(r.data) != "d                   " {
		t.Errorf("name %q", r.data)
	}
	q.do(&ioRequest{op: opOut, sector: 64, out: pattern(8192, 1)}).want(t, ok)
	q.do(&ioRequest{op: opWriteZeroes, out: append(ranges(66, 2, 1), ranges(70, 1, 0)...)}).want(t, ok)
	want := pattern(8192, 1)
	clear(want[1024:2048])
	clear(want[6*512 : 7*512])
	if r := q.do(&ioRequest{op: opIn, sector: 64, in: 8192}).want(t, ok); !bytes.Equal(r.data, want) {
		t.Error("zeroes are not where they were asked for")
	}
	q.do(&ioRequest{op: opDiscard, out: ranges(64, 16, 0)}).want(t, ok)

	const end = 16 << 20 / 512
	for _, row := range []struct {
		r    ioRequest
		want byte
	}{
		{ioRequest{op: opIn, sector: end - 1, in: 512}, ok},
		{ioRequest{op: opIn, sector: end, in: 512}, ioErr},
		{ioRequest{op: opIn, sector: end - 1, in: 1024}, ioErr},
		{ioRequest{op: opOut, sector: 1<<64 - 1, out: make([]byte, 1024)}, ioErr},
		{ioRequest{op: opIn, in: 100}, ioErr},
		{ioRequest{op: 99}, unsupported},
		{ioRequest{op: 99, out: make([]byte, 16)}, unsupported},
		{ioRequest{op: opDiscard}, ioErr},
		{ioRequest{op: opDiscard, out: make([]byte, 15)}, ioErr},
		{ioRequest{op: opDiscard, out: make([]byte, 17*16)}, ioErr},
		{ioRequest{op: opDiscard, out: ranges(0, 8, 1)}, unsupported},
		{ioRequest{op: opWriteZeroes, out: ranges(0, 8, 2)}, unsupported},
		{ioRequest{op: opWriteZeroes, out: ranges(end, 1, 0)}, ioErr},
		{ioRequest{op: opDiscard, out: ranges(0, 1<<31, 0)}, ioErr},
	} {
		q.do(&row.r).want(t, row.want)
	}
}

// TestQueuesInParallel writes and verifies on four queues at once.
func TestQueuesInParallel(t *testing.T) {
	for _, device := range []string{"malloc", "aio"} {
		t.Run(device, func(t *testing.T) {
			w := newWorld(t)
			if device == "malloc" {
				w.malloc("d", 64<<20)
			} else {
				w.aio("d", 64<<20)
			}
			g := newGuest(t, guestOptions{queues: 4, indirect: true, eventIdx: true, slotBytes: 4096, regions: 2, seal: true, inflight: true})
			g.connect(w.controller("c", "d"))
			if s := w.info("c").Sessions; len(s) != 1 || !s[0].Started || s[0].MaxQueues != 4 || s[0].Name != "cs0" {
				t.Errorf("sessions %+v", s)
			}
			var wait sync.WaitGroup
			for i, q := range g.queues {
				wait.Go(func() { hammer(t, q, uint64(i)*16<<20/512, 3000, 32) })
			}
			wait.Wait()
		})
	}
}

// hammer keeps depth requests in flight and checks what comes back.
func hammer(t *testing.T, q *virtqueue, first uint64, count, depth int) {
	const blocks = 512
	generation := make([]byte, blocks)
	busy := make([]bool, blocks)
	at := map[*ioRequest]int{}
	for n, done := 0, 0; done < count; {
		from := q.availIdx
		for n < count && n-done < depth {
			block := n * 37 % blocks
			if busy[block] {
				break
			}
			busy[block] = true
			r := &ioRequest{op: opIn, sector: first + uint64(block)*8, in: 4096}
			if n%3 != 0 {
				generation[block]++
				r = &ioRequest{op: opOut, sector: r.sector, out: pattern(4096, generation[block])}
			}
			at[r] = block
			q.post(r)
			n++
		}
		q.notify(from)
		_, r := q.reap()
		block := at[r]
		delete(at, r)
		busy[block] = false
		done++
		if r.status != ok {
			t.Errorf("%s ended with %d", r, r.status)
			return
		}
		if g := generation[block]; r.op == opIn && g > 0 && !bytes.Equal(r.data, pattern(4096, g)) {
			t.Errorf("%s is not generation %d", r, g)
			return
		}
	}
}

// TestLargeRequests moves more than a buffer holds, in and out of memory that needs buffers.
func TestLargeRequests(t *testing.T) {
	for _, o := range []guestOptions{{}, {seal: true}} {
		w := newWorld(t)
		w.aio("d", 16<<20)
		o.slotBytes, o.size, o.indirect = 2<<20, 16, true
		g := newGuest(t, o)
		g.connect(w.controller("c", "d"))
		q := g.queues[0]
		const size = 1536<<10 + 512
		for _, split := range []int{0, 128 << 10, 100 << 10} {
			data := pattern(size, byte(split>>10))
			q.do(&ioRequest{op: opOut, sector: 3, out: data, split: split}).want(t, ok)
			if r := q.do(&ioRequest{op: opIn, sector: 3, in: size, split: split}).want(t, ok); !bytes.Equal(r.data, data) {
				t.Errorf("split into %d: not what was written", split)
			}
		}
	}
}

// TestBuffersAreBounded posts more than buffers may hold: the rest waits in the ring.
func TestBuffersAreBounded(t *testing.T) {
	w := newWorld(t)
	disk := w.gated("d")
	g := newGuest(t, guestOptions{size: 256, slotBytes: 512 << 10, indirect: true, eventIdx: true, inflight: true})
	g.connect(w.controller("c", "d"))
	q := g.queues[0]
	const requests, bound = 200, 128 // of 512 KiB each: 64 MiB
	for range requests {
		q.post(&ioRequest{op: opIn, in: 512 << 10})
	}
	q.forceKick()
	eventually(t, "as many at the device as there are buffers", func() bool { return disk.waiting() == bound })
	if s := w.info("c").Sessions[0]; s.InFlight != bound {
		t.Errorf("%d requests in flight, want %d", s.InFlight, bound)
	}
	disk.open()
	for range requests {
		_, r := q.reap()
		r.want(t, ok)
	}
}

// TestBlocksOf4KiB has a device whose blocks are larger than sectors.
func TestBlocksOf4KiB(t *testing.T) {
	w := newWorld(t)
	_, err := bdev.CreateMalloc(w.registry, bdev.MallocOptions{Name: "d", BlockSizeBytes: 4096, Blocks: 256})
	must(t, err)
	g := newGuest(t, guestOptions{})
	l := g.connect(w.controller("c", "d"))
	if c := l.config(); binary.LittleEndian.Uint64(c) != 2048 || binary.LittleEndian.Uint32(c[20:]) != 4096 || binary.LittleEndian.Uint32(c[44:]) != 8 {
		t.Errorf("config space %x", c)
	}
	q := g.queues[0]
	data := pattern(8192, 9)
	for _, split := range []int{0, 512, 5000} {
		q.do(&ioRequest{op: opOut, sector: 8, out: data, split: split}).want(t, ok)
		if r := q.do(&ioRequest{op: opIn, sector: 8, in: 8192, split: split}).want(t, ok); !bytes.Equal(r.data, data) {
			t.Error("not what was written")
		}
	}
	q.do(&ioRequest{op: opIn, sector: 1, in: 4096}).want(t, ioErr)
	q.do(&ioRequest{op: opIn, sector: 8, in: 512}).want(t, ioErr)
	q.do(&ioRequest{op: opDiscard, out: ranges(8, 4, 0)}).want(t, ioErr)
	q.do(&ioRequest{op: opDiscard, out: ranges(8, 8, 0)}).want(t, ok)
}
