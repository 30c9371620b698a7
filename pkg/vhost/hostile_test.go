// SPDX-License-Identifier: Apache-2.0

package vhost_test

import (
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// put writes a descriptor of the ring.
func (q *virtqueue) raw(index uint16, addr uint64, n uint32, flags, next uint16) {
	d := q.g.at(q.desc+16*uint64(index), 16)
	binary.LittleEndian.PutUint64(d, addr)
	binary.LittleEndian.PutUint32(d[8:], n)
	binary.LittleEndian.PutUint16(d[12:], flags)
	binary.LittleEndian.PutUint16(d[14:], next)
}

// TestHostileRings breaks the rules on a ring, one way at a time. Each ends the session, for a reason
// that the log has; another guest on the same controller does not notice.
func TestHostileRings(t *testing.T) {
	w := newWorld(t)
	w.malloc("d", 1<<20)
	w.aio("a", 1<<20)
	path := w.controller("c", "d")
	bystander := newGuest(t, guestOptions{})
	bystander.connect(path)
	for _, row := range []struct {
		name, reason string
		o            guestOptions
		spoil        func(q *virtqueue, s *slot)
	}{
		{"loop", "a loop", guestOptions{}, func(q *virtqueue, s *slot) {
			q.raw(0, s.head, 16, 1, 1)
			q.raw(1, s.data, 16, 1, 0)
		}},
		{"next beyond the ring", "leads to number 128 of 128", guestOptions{}, func(q *virtqueue, s *slot) { q.raw(0, s.head, 16, 1, 128) }},
		{"head beyond the ring", "descriptor 500 is made available", guestOptions{}, func(q *virtqueue, _ *slot) { q.expose(500) }},
		{"address nowhere", "not in the memory table", guestOptions{}, func(q *virtqueue, _ *slot) { q.raw(0, 1<<60, 16, 0, 0) }},
		{"address wraps", "not in the memory table", guestOptions{}, func(q *virtqueue, _ *slot) { q.raw(0, 1<<64-8, 16, 0, 0) }},
		{"length beyond memory", "not in the memory table", guestOptions{}, func(q *virtqueue, s *slot) { q.raw(0, s.head, 1<<32-1, 0, 0) }},
		{"read after write", "follows one to write", guestOptions{}, func(q *virtqueue, s *slot) {
			q.raw(0, s.data, 16, 1|2, 1)
			q.raw(1, s.head, 16, 0, 0)
		}},
		{"short head", "no room for its head", guestOptions{}, func(q *virtqueue, s *slot) {
			q.raw(0, s.head, 15, 1, 1)
			q.raw(1, s.status, 1, 2, 0)
		}},
		{"no descriptors worth the name", "no room for its head", guestOptions{}, func(q *virtqueue, s *slot) { q.raw(0, s.head, 0, 0, 0) }},
		{"no status", "no room for its status", guestOptions{}, func(q *virtqueue, s *slot) { q.raw(0, s.head, 16, 0, 0) }},
		{"indirect, unasked", "was not negotiated", guestOptions{}, func(q *virtqueue, s *slot) { q.raw(0, s.table, 32, 4, 0) }},
		{"indirect and next", "indirect and goes on", guestOptions{indirect: true}, func(q *virtqueue, s *slot) { q.raw(0, s.table, 32, 5, 0) }},
		{"indirect of odd length", "indirect table of 17 bytes", guestOptions{indirect: true}, func(q *virtqueue, s *slot) { q.raw(0, s.table, 17, 4, 0) }},
		{"indirect of nothing", "indirect table of 0 bytes", guestOptions{indirect: true}, func(q *virtqueue, s *slot) { q.raw(0, s.table, 0, 4, 0) }},
		{"indirect too long", "indirect table of 4294967280", guestOptions{indirect: true}, func(q *virtqueue, s *slot) { q.raw(0, s.table, 1<<32-16, 4, 0) }},
		{"indirect nowhere", "indirect table: 16 bytes at guest address", guestOptions{indirect: true}, func(q *virtqueue, _ *slot) { q.raw(0, 12345<<32, 16, 4, 0) }},
		{"indirect in indirect", "not the first and only", guestOptions{indirect: true}, func(q *virtqueue, s *slot) {
			q.put(q.g.at(s.table, 16), piece{s.head, 16, false}, 1, true)
			q.put(q.g.at(s.table+16, 16), piece{s.table, 16, false}, 0, false)
			binary.LittleEndian.PutUint16(q.g.at(s.table+28, 2), 4)
			q.raw(0, s.table, 32, 4, 0)
		}},
		{"indirect loop", "a loop", guestOptions{indirect: true}, func(q *virtqueue, s *slot) {
			q.put(q.g.at(s.table, 16), piece{s.head, 16, false}, 0, true)
			q.raw(0, s.table, 16, 4, 0)
		}},
		{"more than the ring holds", "makes 129 requests available", guestOptions{}, func(q *virtqueue, _ *slot) { q.availIdx += 128 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := newGuest(t, row.o)
			l := g.connect(path)
			q := g.queues[0]
			row.spoil(q, &q.slots[0])
			q.expose(0)
			q.forceKick()
			l.ended(w, row.reason)
			bystander.queues[0].do(&ioRequest{op: opIn, in: 4096}).want(t, ok)
		})
	}
}

// TestSameDescriptorTwice makes a descriptor available while its request is in flight.
func TestSameDescriptorTwice(t *testing.T) {
	w := newWorld(t)
	disk := w.gated("d")
	g := newGuest(t, guestOptions{})
	l := g.connect(w.controller("c", "d"))
	q := g.queues[0]
	head := q.post(&ioRequest{op: opFlush})
	q.expose(head)
	q.forceKick()
	eventually(t, "the request is at the device", func() bool { return disk.waiting() == 1 })
	disk.open()
	l.ended(w, "available again before")
}

// TestMemoryVanishes shrinks the guest's memory under requests: at the ring, and under the data.
func TestMemoryVanishes(t *testing.T) {
	for _, device := range []string{"malloc", "aio"} {
		for _, op := range []uint32{opIn, opOut, 99} {
			w := newWorld(t)
			w.disk(device)
			path := w.controller("c", device)
			bystander := newGuest(t, guestOptions{})
			bystander.connect(path)
			g := newGuest(t, guestOptions{})
			extra := len(g.mem)
			g.addMemory(9<<32, 1<<20)
			l := g.connect(path)
			q := g.queues[0]
			for i := range q.slots {
				q.slots[i].data = g.mem[extra].addr
			}
			r := &ioRequest{op: opOut, out: pattern(8192, 3), split: 4096}
			q.do(r).want(t, ok)
			reason := "guest memory is gone"
			switch op {
			case opIn:
				r = &ioRequest{op: opIn, in: 8192, split: 4096}
				fallthrough
			case opOut:
				head := q.place(r)
				must(t, unix.Ftruncate(g.mem[extra].fd, 0))
				q.expose(head)
			default: // the ring itself
				must(t, unix.Ftruncate(g.mem[0].fd, 0))
			}
			q.forceKick()
			l.ended(w, reason)
			bystander.queues[0].do(&ioRequest{op: opIn, in: 4096}).want(t, ok)
			must(t, l.sock.Close())
			eventually(t, "the session is over", func() bool { return len(w.info("c").Sessions) == 1 })
		}
	}
}

// TestHostileMessages sends what no front end should.
func TestHostileMessages(t *testing.T) {
	w := newWorld(t)
	w.malloc("d", 1<<20)
	path := w.controller("c", "d")
	bystander := newGuest(t, guestOptions{})
	bystander.connect(path)
	g := newGuest(t, guestOptions{})
	m := g.mem[0]
	small := memfd(t, 4096, false)
	file, err := os.CreateTemp("/var/tmp", "vh")
	must(t, err)
	must(t, os.Remove(file.Name()))
	must(t, file.Truncate(1<<20))
	defer func() { must(t, unix.Close(small)); must(t, file.Close()) }()
	pipe, null := newEventfd(t), newEventfd(t)
	defer func() { must(t, unix.Close(pipe)); must(t, unix.Close(null)) }()
	table := func(n uint32, regions ...[]byte) []byte {
		b := u32s(n, 0)
		for _, r := range regions {
			b = append(b, r...)
		}
		return b
	}
	good := g.region(m)
	many := make([]int, 40)
	for i := range many {
		many[i] = m.fd
	}
	for _, row := range []struct {
		name, reason string
		request      uint32
		flags        uint32
		payload      []byte
		fds          []int
	}{
		{"unknown", "unknown message: number 77", 77, 1, nil, nil},
		{"wrong version", "version 2 of the protocol", 1, 2, nil, nil},
		{"answer", "says it is an answer", 1, 1 | 4, nil, nil},
		{"features", "were not offered", 2, 1, u64(1 << 63), nil},
		{"packed ring", "were not offered", 2, 1, u64(1<<34 | featVersion1), nil},
		{"protocol features", "were not offered", 16, 1, u64(1 << 60), nil},
		{"short features", "has 3 bytes and needs 8", 2, 1, []byte{1, 2, 3}, nil},
		{"table without descriptors", "1 regions and 0 file descriptors", 5, 1, table(1, good), nil},
		{"table with others", "1 regions and 2 file descriptors", 5, 1, table(1, good), []int{m.fd, m.fd}},
		{"table too large", "33 regions", 5, 1, table(33), many[:32]},
		{"table cut short", "needs 72", 5, 1, table(2, good), []int{m.fd, m.fd}},
		{"empty table", "0 regions", 5, 1, table(0), nil},
		{"overlap", "overlap", 5, 1, table(2, good, good), []int{m.fd, m.fd}},
		{"region beyond its file", "not within its file", 5, 1, table(1, good), []int{small}},
		{"region of nothing", "not within its file", 5, 1, table(1, u64s(0, 0, 0, 0)), []int{m.fd}},
		{"region wraps", "beyond the end of addresses", 5, 1, table(1, u64s(1<<63, 1<<63, 0, 4096)), []int{m.fd}},
		{"offset wraps", "beyond the end of addresses", 5, 1, table(1, u64s(0, 1<<62, 0, 1<<64-4096)), []int{m.fd}},
		{"memory on a disk", "must be a memfd", 5, 1, table(1, good), []int{int(file.Fd())}},
		{"memory that is an eventfd", "must be a memfd", 5, 1, table(1, good), []int{null}},
		{"add without a descriptor", "came with 0 file descriptors", 37, 1, append(u64(0), good...), nil},
		{"remove what is not there", "no memory region", 38, 1, append(u64(0), good...), nil},
		{"too many descriptors", "more than 32 file descriptors", 1, 1, nil, many},
		{"ring size", "must be a power of 2", 8, 1, u32s(0, 100), nil},
		{"ring too large", "must be a power of 2", 8, 1, u32s(0, 65536), nil},
		{"queue", "there is no queue 256", 8, 1, u32s(256, 128), nil},
		{"base", "not an index of a split ring", 10, 1, u32s(0, 1<<16), nil},
		{"enable", "cannot be enabled with 2", 18, 1, u32s(0, 2), nil},
		{"kick that is memory", "instead of an eventfd", 12, 1, u64(0), []int{m.fd}},
		{"kick without a descriptor", "came with 0 file descriptors", 12, 1, u64(0), nil},
		{"polling", "this back end waits for kicks", 12, 1, u64(256), nil},
		{"config", "asks for 4000000000 bytes", 24, 1, u32s(0, 4000000000, 0), nil},
		{"inflight for nobody", "inflight memory for 0 queues", 31, 1, append(u64s(0, 0), 0, 0, 128, 0), nil},
		{"inflight too small", "inflight memory has 64 bytes", 32, 1, append(u64s(64, 0), 1, 0, 128, 0), []int{small}},
		{"inflight at an odd place", "inflight memory", 32, 1, append(u64s(4000, 3), 1, 0, 128, 0), []int{small}},
		{"channel that is memory", "channel for requests", 21, 1, nil, []int{m.fd}},
		{"channel that is an eventfd", "channel for requests", 21, 1, nil, []int{null}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := dial(t, path)
			must(t, l.raw(row.request, row.flags, row.payload, row.fds...))
			l.ended(w, row.reason)
			bystander.queues[0].do(&ioRequest{op: opIn, in: 4096}).want(t, ok)
		})
	}
	l := dial(t, path)
	_, err = l.sock.Write([]byte{1, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	must(t, err)
	l.ended(w, "4294967295 bytes, more than")
	l = dial(t, path)
	_, err = l.sock.Write([]byte{1, 0, 0, 0, 1})
	must(t, err)
	must(t, l.sock.CloseWrite())
	l.ended(w, "unexpected EOF")
	eventually(t, "the others have gone", func() bool { return len(w.info("c").Sessions) == 1 })
}

// TestFullCall makes the back end wait in a write to an eventfd, behind its back.
func TestFullCall(t *testing.T) {
	w := newWorld(t)
	w.malloc("d", 1<<20)
	g := newGuest(t, guestOptions{})
	l := g.connect(w.controller("c", "d"))
	q := g.queues[0]
	q.do(&ioRequest{op: opIn, in: 512}).want(t, ok)
	full := binary.LittleEndian.AppendUint64(nil, 1<<64-2)
	var count [8]byte
	_, _ = unix.Read(q.call, count[:])
	_, err := unix.Write(q.call, full)
	must(t, err)
	must(t, unix.SetNonblock(q.call, false))
	q.post(&ioRequest{op: opIn, in: 512})
	q.forceKick()
	eventually(t, "an answer", func() bool { return q.usedIdx() == 2 })
	must(t, l.sock.Close())
	eventually(t, "the session is over", func() bool { return len(w.info("c").Sessions) == 0 })
}

// TestRingsInWrongPlaces starts queues whose rings are not where they could be.
func TestRingsInWrongPlaces(t *testing.T) {
	w := newWorld(t)
	w.malloc("d", 1<<20)
	path := w.controller("c", "d")
	for _, row := range []struct {
		reason string
		move   func(q *virtqueue)
	}{
		{"descriptors: 2048 bytes", func(q *virtqueue) { q.desc = 1 << 50 }},
		{"available ring: 262 bytes", func(q *virtqueue) { q.avail = q.g.mem[0].addr + uint64(len(q.g.mem[0].bytes)) - 8 }},
		{"used ring: 1030 bytes", func(q *virtqueue) { q.used = 0 }},
		{"not a multiple of 16", func(q *virtqueue) { q.desc += 8 }},
		{"not a multiple of 4", func(q *virtqueue) { q.used += 2 }},
		{"not a multiple of 2", func(q *virtqueue) { q.avail++ }},
	} {
		g := newGuest(t, guestOptions{})
		row.move(g.queues[0])
		l := dial(t, path)
		l.negotiate(g)
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
