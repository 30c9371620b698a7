// SPDX-License-Identifier: Apache-2.0

package vhost_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/vhost"
)

func TestCreateRefuses(t *testing.T) {
	w := newWorld(t)
	w.malloc("d", 1<<20)
	w.malloc("claimed", 1<<20)
	claim, err := w.registry.Open("claimed", true, bdev.Events{})
	must(t, err)
	must(t, claim.Claim("a namespace"))
	_, err = bdev.CreateNull(w.registry, bdev.NullOptions{Name: "md", BlockSizeBytes: 512, Blocks: 8, Metadata: bdev.Metadata{SizeBytes: 8}})
	must(t, err)
	w.controller("taken", "d")
	file := filepath.Join(w.dir, "file")
	must(t, os.WriteFile(file, []byte("precious"), 0o600))
	for _, row := range []struct {
		name, disk string
		class      errdefs.Class
		errno      syscall.Errno
	}{
		{"taken", "d", errdefs.AlreadyExists, syscall.EEXIST},
		{"x", "nosuch", errdefs.NotFound, syscall.ENODEV},
		{"x", "claimed", errdefs.FailedPrecondition, syscall.EPERM},
		{"x", "md", errdefs.InvalidArgument, syscall.EINVAL},
		{"file", "d", errdefs.FailedPrecondition, syscall.EIO},
		{"sub/x", "d", errdefs.FailedPrecondition, syscall.EIO},
		{"", "d", errdefs.FailedPrecondition, syscall.EIO},
	} {
		_, err := w.server.Create(vhost.Options{Name: row.name, Bdev: row.disk})
		if !errors.Is(err, row.class) || !errors.Is(err, row.errno) {
			t.Errorf("create %q on %q: %v, want %v and %v", row.name, row.disk, err, row.class, row.errno)
		}
	}
	must(t, claim.Close())
	must(t, os.Remove(file))
	if err := w.server.Delete(t.Context(), "nosuch"); !errors.Is(err, errdefs.NotFound) || !errors.Is(err, syscall.ENODEV) {
		t.Errorf("delete an unknown controller: %v", err)
	}
	if _, err := vhost.NewServer(vhost.Config{}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("a server without settings: %v", err)
	}
	if info, err := w.registry.Lookup("d"); err != nil || info.Openers != 1 || info.Claimed() {
		t.Errorf("bdev %+v (%v), want one opener and no claim", info, err)
	}
}

func TestSockets(t *testing.T) {
	w := newWorld(t)
	w.malloc("d", 1<<20)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(w.dir, "a"), Net: "unix"})
	must(t, err)
	stale.SetUnlinkOnClose(false)
	must(t, stale.Close())
	w.controller("a", "d")
	long := strings.Repeat("v", 200)
	w.controller(long, "d")
	path := w.info(long).Socket
	if len(path) != 107 {
		t.Errorf("the path has %d bytes: %s", len(path), path)
	}
	if _, err := w.server.Create(vhost.Options{Name: long + "w", Bdev: "d"}); !errors.Is(err, syscall.EIO) {
		t.Errorf("a second controller on one socket: %v", err)
	}
	for _, p := range []string{filepath.Join(w.dir, "a"), path} {
		newGuest(t, guestOptions{}).connect(p)
	}
	infos := w.server.Controllers()
	if len(infos) != 2 || infos[0].Name != "a" || infos[1].Sessions[0].Name != long+"s1" || infos[1].Sessions[0].ID != 0 {
		t.Errorf("controllers %+v", infos)
	}
	// A socket that somebody else has put in place stays.
	must(t, os.Remove(path))
	other, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	must(t, w.server.Close(t.Context()))
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket of somebody else: %v", err)
	}
	must(t, other.Close())
	if _, err := w.server.Create(vhost.Options{Name: "late", Bdev: "d"}); !errors.Is(err, errdefs.Unavailable) {
		t.Errorf("create after close: %v", err)
	}
}

func TestDeleteWaitsForTheFrontEnd(t *testing.T) {
	w := newWorld(t)
	w.malloc("d", 1<<20)
	g := newGuest(t, guestOptions{})
	l := g.connect(w.controller("c", "d"))
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.server.Delete(canceled, "c"); !errors.Is(err, errdefs.FailedPrecondition) || !errors.Is(err, context.Canceled) {
		t.Errorf("delete in use: %v", err)
	}
	answer := make(chan error, 1)
	go func() { answer <- w.server.Delete(t.Context(), "c") }()
	g.queues[0].do(&ioRequest{op: opIn, in: 512}).want(t, ok)
	select {
	case err := <-answer:
		t.Fatalf("delete answered (%v) while a front end is connected", err)
	default:
	}
	if s := w.info("c").Sessions; len(s) != 1 {
		t.Errorf("sessions %+v", s)
	}
	must(t, l.sock.Close())
	must(t, <-answer)
	if _, err := w.server.Controller("c"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("after delete: %v", err)
	}
	if info, err := w.registry.Lookup("d"); err != nil || info.Openers != 0 {
		t.Errorf("after delete the bdev is %+v (%v)", info, err)
	}
}

func TestBdevRemoved(t *testing.T) {
	w := newWorld(t)
	disk := w.gated("d")
	g := newGuest(t, guestOptions{inflight: true})
	l := g.connect(w.controller("c", "d"))
	q := g.queues[0]
	q.post(&ioRequest{op: opOut, out: make([]byte, 512)})
	q.forceKick()
	eventually(t, "the request is at the device", func() bool { return disk.waiting() == 1 })
	if s := w.info("c").Sessions[0]; s.InFlight != 1 {
		t.Errorf("session %+v, want one request in flight", s)
	}
	removed := make(chan error, 1)
	go func() { removed <- w.registry.Unregister(t.Context(), "d", "") }()
	eventually(t, "the controller has no bdev", func() bool { return w.info("c").Bdev == "" })
	from := q.availIdx
	q.post(&ioRequest{op: opIn, in: 512})
	q.notify(from)
	if _, r := q.reap(); r.op != opIn || r.status != ioErr {
		t.Errorf("%s ended with %d, want a read that fails", r, r.status)
	}
	disk.open()
	_, r := q.reap()
	r.want(t, ok)
	must(t, <-removed)
	q.do(&ioRequest{op: opFlush}).want(t, ioErr)
	if c := l.config(); binary.LittleEndian.Uint64(c) != 0 {
		t.Errorf("capacity %d of a device without a bdev", binary.LittleEndian.Uint64(c))
	}
}

// config reads the config space.
func (l *link) config() []byte {
	l.t.Helper()
	b, _ := l.ask(24, append(u32s(0, 60, 0), make([]byte, 60)...))
	if len(b) != 72 {
		l.t.Fatalf("config space of %d bytes", len(b)-12)
	}
	return b[12:]
}

func TestResize(t *testing.T) {
	w := newWorld(t)
	w.disk("null")
	g := newGuest(t, guestOptions{})
	l := g.connect(w.controller("c", "null"))
	if c := binary.LittleEndian.Uint64(l.config()); c != 64<<20/512 {
		t.Errorf("capacity %d", c)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	l.set(21, nil, pair[0])
	must(t, unix.Close(pair[0]))
	must(t, bdev.ResizeNull(w.registry, "null", 100))
	channel := os.NewFile(uintptr(pair[1]), "channel")
	defer func() { must(t, channel.Close()) }()
	message := make([]byte, 12)
	if n, err := channel.Read(message); err != nil || n != 12 || message[0] != 2 || message[4] != 1 {
		t.Errorf("message %x (%v)", message[:n], err)
	}
	if c := binary.LittleEndian.Uint64(l.config()); c != 100<<20/512 {
		t.Errorf("capacity %d after the resize", c)
	}
	g.queues[0].do(&ioRequest{op: opIn, sector: 100<<20/512 - 1, in: 512}).want(t, ok)
}

func TestReadOnly(t *testing.T) {
	w := newWorld(t)
	w.malloc("d", 1<<20)
	_, err := w.server.Create(vhost.Options{Name: "c", Bdev: "d", ReadOnly: true})
	must(t, err)
	g := newGuest(t, guestOptions{})
	l := dial(t, filepath.Join(w.dir, "c"))
	if f := l.negotiate(g); f&(1<<5) == 0 || f&(1<<13|1<<14) != 0 {
		t.Errorf("features %#x", f)
	}
	must(t, l.sock.Close())
	g.connect(filepath.Join(w.dir, "c"))
	q := g.queues[0]
	q.do(&ioRequest{op: opIn, in: 4096}).want(t, ok)
	for _, op := range []uint32{opOut, opDiscard, opWriteZeroes} {
		q.do(&ioRequest{op: op, out: make([]byte, 512)}).want(t, ioErr)
	}
}

func TestTooManyFrontEnds(t *testing.T) {
	w := newWorld(t)
	w.malloc("d", 1<<20)
	path := w.controller("c", "d")
	var links []*link
	for range 8 {
		l := dial(t, path)
		l.ask(1, nil)
		links = append(links, l)
	}
	if !dial(t, path).gone() {
		t.Error("a ninth front end is served")
	}
	must(t, links[3].sock.Close())
	eventually(t, "room again", func() bool { return len(w.info("c").Sessions) == 7 })
	l := dial(t, path)
	l.ask(1, nil)
	vids := map[int]bool{}
	for _, s := range w.info("c").Sessions {
		vids[s.VID] = true
	}
	if len(vids) != 8 || !vids[3] {
		t.Errorf("numbers %v, want the free one in use again", vids)
	}
}

// TestMemoryChanges replaces, adds and removes memory while requests are in flight.
func TestMemoryChanges(t *testing.T) {
	w := newWorld(t)
	disk := w.gated("d")
	g := newGuest(t, guestOptions{regions: 2, inflight: true})
	l := g.connect(w.controller("c", "d"))
	q := g.queues[0]
	q.post(&ioRequest{op: opOut, sector: 8, out: pattern(4096, 5), split: 512})
	q.forceKick()
	eventually(t, "the request is at the device", func() bool { return disk.waiting() == 1 })
	extra := len(g.mem)
	g.addMemory(9<<32, 1<<20)
	if slots, _ := l.ask(36, nil); binary.LittleEndian.Uint64(slots) < 32 {
		t.Errorf("room for %x regions", slots)
	}
	l.set(37, append(u64(0), g.region(g.mem[extra])...), g.mem[extra].fd)
	payload, fds := g.memoryTable()
	l.set(5, payload, fds...)
	disk.open()
	_, r := q.reap()
	r.want(t, ok)
	for i := range q.slots { // data in the new region
		q.slots[i].data = g.mem[extra].addr + uint64(i)*4096
	}
	if r := q.do(&ioRequest{op: opIn, sector: 8, in: 4096}).want(t, ok); string(r.data) != string(pattern(4096, 5)) {
		t.Error("the write in flight got lost")
	}
	l.set(38, append(u64(0), g.region(g.mem[extra])...))
	q.post(&ioRequest{op: opIn, in: 512})
	q.forceKick()
	l.ended(w, "not in the memory table")
}

// TestStopAndGo stops a queue in the midst of requests, and starts it where it stopped.
func TestStopAndGo(t *testing.T) {
	for _, o := range []guestOptions{{}, {inflight: true, eventIdx: true}} {
		w := newWorld(t)
		disk := w.gated("d")
		g := newGuest(t, o)
		l := g.connect(w.controller("c", "d"))
		q := g.queues[0]
		for i := range 5 {
			q.post(&ioRequest{op: opOut, sector: uint64(i), out: make([]byte, 512)})
		}
		q.forceKick()
		eventually(t, "the requests are at the device", func() bool { return disk.waiting() == 5 })
		must(t, l.raw(11, 1, u32s(0, 0)))
		disk.open()
		_, base, _, err := l.receive()
		must(t, err)
		if n := binary.LittleEndian.Uint32(base[4:]); n != 5 || q.usedIdx() != 5 {
			t.Errorf("stopped at %d with %d answers, want 5", n, q.usedIdx())
		}
		if s := w.info("c").Sessions[0]; s.Started || s.InFlight != 0 {
			t.Errorf("session %+v", s)
		}
		q.post(&ioRequest{op: opFlush}) // nobody looks
		q.start(l, 5)
		for range 6 {
			_, r := q.reap()
			r.want(t, ok)
		}
		l.set(34, nil) // reset
		q.start(l, 6)
		q.do(&ioRequest{op: opFlush}).want(t, ok)
	}
}

// TestCloseAnswersFirst closes the server while requests are in flight: they are answered.
func TestCloseAnswersFirst(t *testing.T) {
	w := newWorld(t)
	disk := w.gated("d")
	g := newGuest(t, guestOptions{})
	l := g.connect(w.controller("c", "d"))
	q := g.queues[0]
	q.post(&ioRequest{op: opFlush})
	q.forceKick()
	eventually(t, "the request is at the device", func() bool { return disk.waiting() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := w.server.Close(ctx); !errors.Is(err, errdefs.DeadlineExceeded) {
		t.Errorf("close with a request in flight: %v", err)
	}
	disk.open()
	if !l.gone() {
		t.Error("the front end is still connected")
	}
	_, r := q.reap()
	r.want(t, ok)
	must(t, w.server.Close(t.Context()))
	if left := w.server.Controllers(); len(left) > 0 {
		t.Errorf("after close there are %+v", left)
	}
}
