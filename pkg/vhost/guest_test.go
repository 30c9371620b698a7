// SPDX-License-Identifier: Apache-2.0

package vhost_test

import (
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// userBase is how far addresses of the front end are above those of the guest.
const userBase = 0x7000_0000_0000

// guestOptions say what a guest is like. The zero value is a small one with one queue.
type guestOptions struct {
	regions   int    // of memory, each in a file of its own; 1 if zero
	queues    int    // 1 if zero
	size      uint16 // of each queue; 128 if zero
	slotBytes int    // data of a request; 64 KiB if zero
	seal      bool   // memory cannot shrink
	indirect  bool
	eventIdx  bool
	inflight  bool
	stranger  bool // the back end is not ours and may offer less
}

// memory is a region of the guest.
type memory struct {
	addr  uint64
	bytes []byte
	fd    int
}

// guest is memory and rings, as a driver in a virtual machine has them. It outlives connections.
type guest struct {
	t        testing.TB
	o        guestOptions
	mem      []memory
	next     []uint64 // free memory, by region
	queues   []*virtqueue
	inflight int // file descriptor, or -1
	inSpec   []byte
}

// virtqueue is a split ring of the guest.
type virtqueue struct {
	g                 *guest
	index             int
	size              uint16
	desc, avail, used uint64
	kick, call        int
	availIdx, lastUse uint16
	slots             []slot
	free              []uint16
	flying            map[uint16]*ioRequest
	// poll and count are for system calls, so that waiting allocates nothing.
	poll  [1]unix.PollFd
	count [8]byte
}

// slot is the memory of a request that begins with a descriptor of the same number.
type slot struct {
	head, status, table uint64
	data                uint64
}

// ioRequest is a request of the driver.
type ioRequest struct {
	op      uint32
	sector  uint64
	out     []byte // data for the device
	in      int    // bytes wanted from the device
	split   int    // bytes of a data descriptor; 0 for all in one
	status  byte
	written uint32
	data    []byte // what came
}

func newGuest(t testing.TB, o guestOptions) *guest {
	t.Helper()
	o.regions, o.queues = max(o.regions, 1), max(o.queues, 1)
	if o.size == 0 {
		o.size = 128
	}
	if o.slotBytes == 0 {
		o.slotBytes = 64 << 10
	}
	g := &guest{t: t, o: o, inflight: -1}
	need := o.queues*(int(o.size)*(o.slotBytes+8192)+64<<10)/o.regions + 1<<20
	for i := range o.regions {
		g.addMemory(uint64(i)<<32+0x10_0000, need)
	}
	for i := range o.queues {
		g.queues = append(g.queues, g.newQueue(i))
	}
	t.Cleanup(g.close)
	return g
}

func (g *guest) addMemory(addr uint64, size int) {
	g.t.Helper()
	size = (size + 4095) &^ 4095
	fd := memfd(g.t, size, g.o.seal)
	bytes, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(g.t, err)
	g.mem = append(g.mem, memory{addr: addr, bytes: bytes, fd: fd})
	g.next = append(g.next, addr)
}

func memfd(t testing.TB, size int, seal bool) int {
	t.Helper()
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	must(t, err)
	must(t, unix.Ftruncate(fd, int64(size)))
	if seal {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW)
		must(t, err)
	}
	return fd
}

func (g *guest) close() {
	for _, q := range g.queues {
		must(g.t, unix.Close(q.kick))
		must(g.t, unix.Close(q.call))
	}
	for _, m := range g.mem {
		must(g.t, unix.Munmap(m.bytes))
		must(g.t, unix.Close(m.fd))
	}
	if g.inflight >= 0 {
		must(g.t, unix.Close(g.inflight))
	}
}

// alloc takes memory of the guest from a region.
func (g *guest) alloc(region, n int, align uint64) uint64 {
	addr := (g.next[region] + align - 1) &^ (align - 1)
	g.next[region] = addr + uint64(n)
	if g.next[region] > g.mem[region].addr+uint64(len(g.mem[region].bytes)) {
		g.t.Fatalf("region %d of the guest is full", region)
	}
	return addr
}

// at returns n bytes at an address of the guest.
func (g *guest) at(addr uint64, n int) []byte {
	for _, m := range g.mem {
		if addr >= m.addr && addr-m.addr < uint64(len(m.bytes)) {
			return m.bytes[addr-m.addr:][:n]
		}
	}
	g.t.Fatalf("the guest has no memory at %#x", addr)
	return nil
}

func (g *guest) newQueue(index int) *virtqueue {
	q := &virtqueue{g: g, index: index, size: g.o.size, flying: map[uint16]*ioRequest{}, kick: newEventfd(g.t), call: newEventfd(g.t)}
	region := index % len(g.mem)
	n := int(q.size)
	q.desc = g.alloc(region, 16*n, 4096)
	q.avail = g.alloc(region, 6+2*n, 4096)
	q.used = g.alloc(region, 6+8*n, 4096)
	for i := range n {
		// Heads, data and tables of a request lie in different regions.
		q.slots = append(q.slots, slot{
			head:   g.alloc(i%len(g.mem), 16, 16),
			status: g.alloc((i+1)%len(g.mem), 1, 1),
			table:  g.alloc((i+2)%len(g.mem), 16*32, 16),
			data:   g.alloc((i+1)%len(g.mem), g.o.slotBytes, 4096),
		})
	}
	for i := range n {
		q.free = append(q.free, uint16(i))
	}
	return q
}

func newEventfd(t testing.TB) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	must(t, err)
	return fd
}

// pieces are the descriptors of a request.
type piece struct {
	addr  uint64
	n     int
	write bool
}

// pieces writes a request to its slot and says which memory it consists of.
func (q *virtqueue) pieces(s *slot, r *ioRequest) []piece {
	head := q.g.at(s.head, 16)
	binary.LittleEndian.PutUint32(head, r.op)
	binary.LittleEndian.PutUint32(head[4:], 0)
	binary.LittleEndian.PutUint64(head[8:], r.sector)
	q.g.at(s.status, 1)[0] = 0xee
	list := []piece{{s.head, 16, false}}
	n := max(len(r.out), r.in)
	copy(q.g.at(s.data, n), r.out)
	if r.in > 0 {
		clear(q.g.at(s.data, n))
	}
	for at := 0; at < n; {
		size := n - at
		if r.split > 0 {
			size = min(size, r.split)
		}
		list = append(list, piece{s.data + uint64(at), size, r.in > 0})
		at += size
	}
	return append(list, piece{s.status, 1, true})
}

// post makes a request available and returns its head.
func (q *virtqueue) post(r *ioRequest) uint16 {
	q.g.t.Helper()
	head := q.place(r)
	q.expose(head)
	return head
}

// place writes a request into memory and returns its head.
func (q *virtqueue) place(r *ioRequest) uint16 {
	q.g.t.Helper()
	head := q.free[0]
	s := &q.slots[head]
	list := q.pieces(s, r)
	if q.g.o.indirect {
		q.free = q.free[1:]
		for i, p := range list {
			q.put(q.g.at(s.table+16*uint64(i), 16), p, uint16(i+1), i < len(list)-1)
		}
		d := q.g.at(q.desc+16*uint64(head), 16)
		binary.LittleEndian.PutUint64(d, s.table)
		binary.LittleEndian.PutUint32(d[8:], uint32(16*len(list)))
		binary.LittleEndian.PutUint16(d[12:], 4)
	} else {
		for i, p := range list {
			var next uint16
			if i+1 < len(list) {
				next = q.free[i+1]
			}
			q.put(q.g.at(q.desc+16*uint64(q.free[i]), 16), p, next, i < len(list)-1)
		}
		q.free = q.free[len(list):]
	}
	q.flying[head] = r
	return head
}

func (q *virtqueue) put(d []byte, p piece, next uint16, more bool) {
	binary.LittleEndian.PutUint64(d, p.addr)
	binary.LittleEndian.PutUint32(d[8:], uint32(p.n))
	var flags uint16
	if more {
		flags |= 1
	}
	if p.write {
		flags |= 2
	}
	binary.LittleEndian.PutUint16(d[12:], flags)
	binary.LittleEndian.PutUint16(d[14:], next)
}

func (q *virtqueue) word(addr uint64) *uint32 {
	return (*uint32)(unsafe.Pointer(&q.g.at(addr, 4)[0]))
}

// expose puts a head on the available ring.
func (q *virtqueue) expose(head uint16) {
	binary.LittleEndian.PutUint16(q.g.at(q.avail+4+2*uint64(q.availIdx%q.size), 2), head)
	q.availIdx++
	atomic.StoreUint32(q.word(q.avail), uint32(q.availIdx)<<16)
}

// notify kicks if the device wants it for what was posted since from.
func (q *virtqueue) notify(from uint16) {
	kick := atomic.LoadUint32(q.word(q.used))&1 == 0
	if q.g.o.eventIdx {
		event := uint16(atomic.LoadUint32(q.word(q.used + 4 + 8*uint64(q.size))))
		kick = q.availIdx-event-1 < q.availIdx-from
	}
	if kick {
		q.forceKick()
	}
}

func (q *virtqueue) forceKick() {
	q.count = [8]byte{1}
	_, err := unix.Write(q.kick, q.count[:])
	must(q.g.t, err)
}

// usedIdx is the device's index.
func (q *virtqueue) usedIdx() uint16 { return uint16(atomic.LoadUint32(q.word(q.used)) >> 16) }

// reap takes one answer, waiting for it.
func (q *virtqueue) reap() (uint16, *ioRequest) {
	q.g.t.Helper()
	if !q.await(awaitBound) {
		q.g.t.Fatalf("queue %d: no answer; used %d, seen %d, available %d", q.index, q.usedIdx(), q.lastUse, q.availIdx)
	}
	return q.take()
}

// await sleeps until there is an answer.
func (q *virtqueue) await(bound time.Duration) bool {
	deadline := time.Now().Add(bound)
	for q.usedIdx() == q.lastUse {
		if q.g.o.eventIdx {
			event := q.g.at(q.avail+4+2*uint64(q.size), 2)
			binary.LittleEndian.PutUint16(event, q.lastUse)
			atomic.AddUint32(q.word(q.avail), 0) // the store before the load that follows
			if q.usedIdx() != q.lastUse {
				break
			}
		}
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		q.poll[0] = unix.PollFd{Fd: int32(q.call), Events: unix.POLLIN}
		if n, err := unix.Poll(q.poll[:], int(left.Milliseconds())+1); err == nil && n > 0 {
			_, _ = unix.Read(q.call, q.count[:])
		}
	}
	return true
}

// take consumes the next answer.
func (q *virtqueue) take() (uint16, *ioRequest) {
	q.g.t.Helper()
	e := q.g.at(q.used+4+8*uint64(q.lastUse%q.size), 8)
	q.lastUse++
	head := uint16(binary.LittleEndian.Uint32(e))
	r := q.flying[head]
	if r == nil {
		q.g.t.Fatalf("queue %d: descriptor %d was answered and not asked", q.index, head)
	}
	delete(q.flying, head)
	s := &q.slots[head]
	r.status, r.written = q.g.at(s.status, 1)[0], binary.LittleEndian.Uint32(e[4:])
	if r.in > 0 {
		r.data = append(r.data[:0], q.g.at(s.data, r.in)...)
	}
	for d := head; ; {
		q.free = append(q.free, d)
		b := q.g.at(q.desc+16*uint64(d), 16)
		if flags := binary.LittleEndian.Uint16(b[12:]); flags&1 == 0 {
			break
		}
		d = binary.LittleEndian.Uint16(b[14:])
	}
	return head, r
}

// do runs one request.
func (q *virtqueue) do(r *ioRequest) *ioRequest {
	q.g.t.Helper()
	from := q.availIdx
	q.post(r)
	q.notify(from)
	_, got := q.reap()
	return got
}

// awaitBound is how long an answer may take.
const awaitBound = 30 * time.Second

// retake consumes the next answer and leaves its descriptors as they are, for repost.
func (q *virtqueue) retake() uint16 {
	e := q.g.at(q.used+4+8*uint64(q.lastUse%q.size), 8)
	q.lastUse++
	head := uint16(binary.LittleEndian.Uint32(e))
	if status := q.g.at(q.slots[head].status, 1)[0]; status != 0 {
		q.g.t.Fatalf("status %d", status)
	}
	return head
}

// repost makes a request available once more, for another sector.
func (q *virtqueue) repost(head uint16, sector uint64) {
	binary.LittleEndian.PutUint64(q.g.at(q.slots[head].head+8, 8), sector)
	q.expose(head)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
