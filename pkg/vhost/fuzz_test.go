// SPDX-License-Identifier: Apache-2.0

package vhost_test

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// FuzzMessages sends whatever messages: the input is a list of request, flags, descriptors to send,
// length, and payload. The back end goes on for others.
func FuzzMessages(f *testing.F) {
	f.Add([]byte{1, 1, 0, 0, 15, 1, 0, 0, 16, 1, 0, 8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 3, 9, 0, 0, 2, 9, 0, 8, 0, 0, 0, 0x70, 1, 0, 0, 0})
	f.Add([]byte{31, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 128, 0, 0, 0, 0, 0, 11, 1, 0, 8, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Add(append([]byte{5, 1, 1, 40}, append(u32s(1, 0), u64s(0x100000, 0x10000, 1<<40, 0)...)...))
	f.Add([]byte{8, 1, 0, 8, 0, 0, 0, 0, 128, 0, 0, 0, 12, 1, 2, 8, 0, 0, 0, 0, 0, 0, 0, 0, 18, 1, 0, 8, 0, 0, 0, 0, 1, 0, 0, 0, 34, 9, 0, 0})
	w := newWorld(f)
	w.malloc("d", 1<<20)
	path := w.controller("c", "d")
	controller, err := w.server.Controller("c")
	must(f, err)
	memory, event := memfd(f, 1<<20, false), newEventfd(f)
	f.Cleanup(func() { must(f, unix.Close(memory)); must(f, unix.Close(event)) })
	f.Fuzz(func(t *testing.T, input []byte) {
		l := dial(t, path)
		must(t, l.sock.SetReadDeadline(time.Now().Add(awaitBound)))
		end := make(chan error, 1)
		go func() { // answers, which nobody else takes away
			_, err := io.Copy(io.Discard, l.sock)
			end <- err
		}()
		for len(input) >= 4 {
			n := min(int(input[3]), len(input)-4)
			var fds []int
			switch input[2] & 3 {
			case 1:
				fds = []int{memory}
			case 2:
				fds = []int{event}
			case 3:
				fds = []int{memory, event}
			}
			if l.raw(uint32(input[0]), uint32(input[1]), input[4:4+n], fds...) != nil {
				break
			}
			input = input[4+n:]
		}
		_ = l.sock.CloseWrite() // it may be gone already
		if err := <-end; errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the back end does not let go")
		}
		eventually(t, "the session is over", func() bool { return len(controller.Info().Sessions) == 0 })
	})
}

// FuzzChains puts whatever into descriptors, an indirect table and the ring of a running queue, and
// then stops the queue. Either it stops or the session ends.
func FuzzChains(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, []byte{16, 0, 1, 1, 0, 64, 3, 2, 0, 1, 2, 0})
	f.Add([]byte{0, 0}, []byte{32, 3, 4, 0, 0, 0, 0, 0})
	f.Add([]byte{9}, []byte{16, 0, 5, 9})
	w := newWorld(f)
	w.malloc("d", 1<<20)
	path := w.controller("c", "d")
	controller, err := w.server.Controller("c")
	must(f, err)
	f.Fuzz(func(t *testing.T, heads, descriptors []byte) {
		g := newGuest(t, guestOptions{indirect: true, size: 16, slotBytes: 4096, regions: 2})
		l := g.connect(path)
		q := g.queues[0]
		s := &q.slots[0]
		// A request that could be one, and four bytes for each descriptor: length, place, flags, next.
		binary.LittleEndian.PutUint32(g.at(s.head, 4), uint32(len(heads)%14))
		places := []uint64{s.head, s.data, s.status, s.table, q.desc, q.used, g.mem[0].addr + uint64(len(g.mem[0].bytes)) - 8, 1 << 62}
		for i := 0; i+4 <= len(descriptors) && i < 48*4; i += 4 {
			d := descriptors[i:]
			p := piece{addr: places[d[1]%8], n: int(d[0])}
			if d[1]&0x80 != 0 {
				p.n *= 512
			}
			at := g.at(q.desc, 16*16)
			if i >= 16*4 {
				at = g.at(s.table, 16*32)[16*(i/4-16):]
			} else {
				at = at[16*(i/4):]
			}
			q.put(at, p, uint16(d[3]), false)
			binary.LittleEndian.PutUint16(at[12:], uint16(d[2]&7))
		}
		for _, h := range heads[:min(len(heads), 16)] {
			q.expose(uint16(h))
		}
		q.forceKick()
		if l.raw(11, 1, u32s(0, 0)) == nil {
			_, _, _, _ = l.receive() // the base, or the end
		}
		must(t, l.sock.Close())
		eventually(t, "the session is over", func() bool { return len(controller.Info().Sessions) == 0 })
		if log := w.log.String(); strings.Contains(log, "a mistake") {
			t.Error(log)
		}
	})
}
