// SPDX-License-Identifier: Apache-2.0

package vhost_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReconnectWithRequestsInFlight loses the connection while requests are at the device. The next
// session waits for them, and then runs them again in their old order, before new ones.
func TestReconnectWithRequestsInFlight(t *testing.T) {
	w := newWorld(t)
	disk := w.gated("d")
	g := newGuest(t, guestOptions{inflight: true, eventIdx: true})
	path := w.controller("c", "d")
	l := g.connect(path)
	q := g.queues[0]
	for i := range 4 {
		q.post(&ioRequest{op: opOut, sector: uint64(10 - i), out: make([]byte, 512)})
	}
	q.forceKick()
	eventually(t, "the requests are at the device", func() bool { return disk.waiting() == 4 })
	must(t, l.sock.Close())
	l = g.connect(path)
	q.post(&ioRequest{op: opOut, sector: 99, out: make([]byte, 512)})
	q.forceKick()
	eventually(t, "both sessions are there", func() bool { return len(w.info("c").Sessions) == 2 })
	if n := disk.waiting(); n != 4 || q.usedIdx() != 0 {
		t.Errorf("%d requests at the device and %d answers before the first ones are done", n, q.usedIdx())
	}
	disk.open()
	for range 5 {
		_, r := q.reap()
		r.want(t, ok)
	}
	if got, want := disk.written(), []uint64{10, 9, 8, 7, 10, 9, 8, 7, 99}; !slices.Equal(got, want) {
		t.Errorf("the device wrote %d, want %d", got, want)
	}
	must(t, l.sock.Close())
	eventually(t, "no sessions", func() bool { return len(w.info("c").Sessions) == 0 })
	g.connect(path)
	q.do(&ioRequest{op: opFlush}).want(t, ok)
	if n := len(disk.written()); n != 9 {
		t.Errorf("%d writes: some ran once more", n)
	}
}

// TestCrashPoints connects to a back end after one before it died at each point of answering a batch
// of two, of three requests taken. What was answered is not run again, the rest is, in order.
func TestCrashPoints(t *testing.T) {
	const (
		marked    = iota // the requests were taken
		chained          // the batch was chained and its last head noted
		published        // the driver sees the answers
		cleared          // one mark is gone
		settled          // all is as it should be
	)
	for point := marked; point <= settled; point++ {
		w := newWorld(t)
		disk := w.gated("d")
		disk.open()
		g := newGuest(t, guestOptions{inflight: true, size: 16})
		q := g.queues[0]
		for i := range 3 {
			q.post(&ioRequest{op: opOut, sector: uint64(i), out: make([]byte, 512)})
		}
		heads := []uint16{0, 3, 6} // three descriptors each
		words := make([]byte, 16+16*16)
		state := func(head uint16) []byte { return words[16+16*int(head):] }
		words[8], words[10] = 1, 16
		for i, head := range []uint16{6, 0, 3} { // taken in this order
			state(head)[0] = 1
			binary.LittleEndian.PutUint64(state(head)[8:], uint64(100+i))
		}
		if point >= chained { // answers to heads[0] and heads[1]
			binary.LittleEndian.PutUint16(state(heads[1])[6:], heads[0])
			binary.LittleEndian.PutUint16(words[12:], heads[1])
		}
		want := []uint64{2, 0, 1}
		if point >= published {
			for i, head := range heads[:2] {
				q.g.at(q.slots[head].status, 1)[0] = ok
				binary.LittleEndian.PutUint32(g.at(q.used+4+8*uint64(i), 4), uint32(head))
				binary.LittleEndian.PutUint32(g.at(q.used+8+8*uint64(i), 4), 1)
			}
			binary.LittleEndian.PutUint16(g.at(q.used+2, 2), 2)
			want = want[:1]
		}
		if point >= cleared {
			state(heads[1])[0] = 0
		}
		if point >= settled {
			state(heads[0])[0] = 0
			binary.LittleEndian.PutUint16(words[14:], 2)
		}
		g.inflight = memfd(t, 4096, false)
		_, err := unix.Pwrite(g.inflight, words, 0)
		must(t, err)
		g.inSpec = append(u64s(uint64(len(words)+63)&^63, 0), 1, 0, 16, 0, 0, 0, 0, 0)
		g.connect(w.controller("c", "d"))
		for range 3 {
			_, r := q.reap()
			r.want(t, ok)
		}
		if got := disk.written(); !slices.Equal(got, want) {
			t.Errorf("died at point %d: then the device wrote %d, want %d", point, got, want)
		}
		q.do(&ioRequest{op: opFlush}).want(t, ok)
	}
}

// TestRingBeginsAnew starts rings from zero with the marks of their life before, as after a reboot.
func TestRingBeginsAnew(t *testing.T) {
	w := newWorld(t)
	w.malloc("d", 1<<20)
	path := w.controller("c", "d")
	g := newGuest(t, guestOptions{inflight: true})
	l := g.connect(path)
	q := g.queues[0]
	for range 200 {
		q.do(&ioRequest{op: opIn, in: 512}).want(t, ok)
	}
	l.ask(11, u32s(0, 0))
	clear(g.at(q.avail, 6+2*int(q.size)))
	clear(g.at(q.used, 6+8*int(q.size)))
	q.availIdx, q.lastUse = 0, 0
	q.start(l, 0)
	for range 200 {
		q.do(&ioRequest{op: opIn, in: 512}).want(t, ok)
	}
}

// TestHostileInflight hands over marks that cannot be right.
func TestHostileInflight(t *testing.T) {
	w := newWorld(t)
	w.malloc("d", 1<<20)
	path := w.controller("c", "d")
	for _, row := range []struct {
		reason string
		spoil  func(words []byte)
	}{
		{"is of version 7", func(b []byte) { b[8] = 7 }},
		{"1 requests is 200 answers behind", func(b []byte) {
			b[16] = 1
			binary.LittleEndian.PutUint16(b[14:], 1<<16-200)
		}},
		{"leads to descriptor 1000", func(b []byte) {
			binary.LittleEndian.PutUint16(b[12:], 1000)
			b[14] = 0xff
			b[15] = 0xff
		}},
		{"inflight memory for 1 queues of 8", nil},
	} {
		words := make([]byte, 4096)
		words[8], words[10] = 1, 128
		g := newGuest(t, guestOptions{inflight: true})
		g.inSpec = append(u64s(4096, 0), 1, 0, 128, 0, 0, 0, 0, 0)
		if row.spoil == nil {
			g.inSpec[18] = 8
		} else {
			row.spoil(words)
		}
		g.inflight = memfd(t, 4096, false)
		_, err := unix.Pwrite(g.inflight, words, 0)
		must(t, err)
		l := dial(t, path)
		l.negotiate(g)
		l.set(32, g.inSpec, g.inflight)
		payload, fds := g.memoryTable()
		l.set(5, payload, fds...)
		q := g.queues[0]
		must(t, l.raw(8, 1, u32s(0, uint32(q.size))))
		must(t, l.raw(9, 1, append(u32s(0, 0), u64s(q.desc+userBase, q.used+userBase, q.avail+userBase, 0)...)))
		must(t, l.raw(12, 1, u64(0), q.kick))
		must(t, l.raw(18, 1, u32s(0, 1)))
		l.ended(w, row.reason)
	}
}
