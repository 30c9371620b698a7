// SPDX-License-Identifier: Apache-2.0

package vhost_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Features and protocol features that the test's front end asks for.
const (
	featIndirect = 1 << 28
	featEventIdx = 1 << 29
	featProtocol = 1 << 30
	featVersion1 = 1 << 32

	protocolFeatures = 1<<0 | 1<<3 | 1<<5 | 1<<9 | 1<<10 | 1<<12 | 1<<13 | 1<<15
)

// link is a front end's connection.
type link struct {
	t    testing.TB
	sock *net.UnixConn
}

// dial connects to a back end.
func dial(t testing.TB, path string) *link {
	t.Helper()
	sock, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	t.Cleanup(func() { _ = sock.Close() })
	return &link{t: t, sock: sock}
}

// raw sends a message as it is.
func (l *link) raw(request, flags uint32, payload []byte, fds ...int) error {
	b := binary.LittleEndian.AppendUint32(nil, request)
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	var control []byte
	if len(fds) > 0 {
		control = unix.UnixRights(fds...)
	}
	_, _, err := l.sock.WriteMsgUnix(append(b, payload...), control, nil)
	return err //nolint:wrapcheck // for the test alone
}

// receive reads an answer.
func (l *link) receive() (request uint32, payload []byte, fds []int, err error) {
	var head [12]byte
	control := make([]byte, unix.CmsgSpace(4*4))
	must(l.t, l.sock.SetReadDeadline(time.Now().Add(30*time.Second)))
	n, cn, _, _, err := l.sock.ReadMsgUnix(head[:], control)
	if err != nil {
		return 0, nil, nil, err
	}
	if n == 0 {
		return 0, nil, nil, io.EOF
	}
	if cn > 0 {
		messages, err := unix.ParseSocketControlMessage(control[:cn])
		must(l.t, err)
		fds, err = unix.ParseUnixRights(&messages[0])
		must(l.t, err)
	}
	payload = make([]byte, binary.LittleEndian.Uint32(head[8:]))
	_, err = io.ReadFull(l.sock, payload)
	return binary.LittleEndian.Uint32(head[:]), payload, fds, err
}

// set sends a message and wants it acknowledged.
func (l *link) set(request uint32, payload []byte, fds ...int) {
	l.t.Helper()
	must(l.t, l.raw(request, 1|8, payload, fds...))
	_, ack, _, err := l.receive()
	must(l.t, err)
	if binary.LittleEndian.Uint64(ack) != 0 {
		l.t.Fatalf("message %d was refused", request)
	}
}

// ask sends a message and returns the answer.
func (l *link) ask(request uint32, payload []byte) ([]byte, []int) {
	l.t.Helper()
	must(l.t, l.raw(request, 1, payload))
	got, answer, fds, err := l.receive()
	must(l.t, err)
	if got != request {
		l.t.Fatalf("the answer to %d is about %d", request, got)
	}
	return answer, fds
}

func u64(v uint64) []byte     { return binary.LittleEndian.AppendUint64(nil, v) }
func u32s(v ...uint32) []byte { b, _ := binary.Append(nil, binary.LittleEndian, v); return b }
func u64s(v ...uint64) []byte { b, _ := binary.Append(nil, binary.LittleEndian, v); return b }

// negotiate does all that comes before memory and rings. It returns the features of the device.
func (l *link) negotiate(g *guest) uint64 {
	l.t.Helper()
	b, _ := l.ask(1, nil)
	offered := binary.LittleEndian.Uint64(b)
	b, _ = l.ask(15, nil)
	protocol := binary.LittleEndian.Uint64(b) & protocolFeatures
	if protocol != protocolFeatures && !g.o.stranger {
		l.t.Fatalf("protocol features %x lack some of %x", b, protocolFeatures)
	}
	must(l.t, l.raw(16, 1, u64(protocol)))
	l.set(3, nil)
	features := offered &^ (featIndirect | featEventIdx)
	if g.o.indirect {
		features |= featIndirect
	}
	if g.o.eventIdx {
		features |= featEventIdx
	}
	if features&^offered != 0 {
		l.t.Fatalf("features %#x do not have %#x", offered, features)
	}
	l.set(2, u64(features))
	return offered
}

// memoryTable describes the memory of a guest.
func (g *guest) memoryTable() (payload []byte, fds []int) {
	payload = u32s(uint32(len(g.mem)), 0)
	for _, m := range g.mem {
		payload = append(payload, g.region(m)...)
		fds = append(fds, m.fd)
	}
	return payload, fds
}

func (*guest) region(m memory) []byte {
	return u64s(m.addr, uint64(len(m.bytes)), m.addr+userBase, 0)
}

// connect brings up the device of a guest as QEMU does it, also once more after the back end or the
// connection was lost.
func (g *guest) connect(path string) *link {
	g.t.Helper()
	l := dial(g.t, path)
	l.negotiate(g)
	if g.o.inflight {
		if g.inflight < 0 {
			want := append(u64s(0, 0), byte(len(g.queues)), 0, byte(g.o.size), byte(g.o.size>>8), 0, 0, 0, 0)
			spec, fds := l.ask(31, want)
			if len(fds) != 1 {
				g.t.Fatalf("inflight memory came with %d descriptors", len(fds))
			}
			g.inSpec, g.inflight = spec, fds[0]
		}
		l.set(32, g.inSpec, g.inflight)
	}
	payload, fds := g.memoryTable()
	l.set(5, payload, fds...)
	for _, q := range g.queues {
		q.start(l, q.lastUse)
	}
	return l
}

// start sets up a queue.
func (q *virtqueue) start(l *link, base uint16) {
	l.t.Helper()
	i := uint32(q.index)
	l.set(8, u32s(i, uint32(q.size)))
	l.set(10, u32s(i, uint32(base)))
	l.set(9, append(u32s(i, 0), u64s(q.desc+userBase, q.used+userBase, q.avail+userBase, 0)...))
	l.set(12, u64(uint64(i)), q.kick)
	l.set(13, u64(uint64(i)), q.call)
	l.set(18, u32s(i, 1))
	q.forceKick()
}

// gone waits for the back end to end the connection, and reports whether it did.
func (l *link) gone() bool {
	for {
		_, _, fds, err := l.receive()
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		if err != nil {
			var timeout net.Error
			return !errors.As(err, &timeout) || !timeout.Timeout()
		}
	}
}

// ended waits for the back end to end the connection and to log a reason that holds the text.
func (l *link) ended(w *world, reason string) {
	l.t.Helper()
	if !l.gone() {
		l.t.Fatalf("the back end goes on in spite of: %s", reason)
	}
	eventually(l.t, "the log says: "+reason, func() bool { return strings.Contains(w.log.String(), reason) })
}
