// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

// TestHostilePDUs sends what no host should, on a queue of each kind, and expects the terminate
// request that the specification has for it and the end of the connection, and nothing else.
func TestHostilePDUs(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	at := export(t, tgt, newRAM(512, 4096))
	ctl := admin(t, at, options{})
	witness := ioQueue(t, at, ctl, options{}, 1)

	raw := func(t *testing.T) *client {
		c := &client{tb: t, conn: dialRaw(t, at)}
		c.in = bufio.NewReader(c.conn)
		return c
	}
	queues := uint16(1)
	queue := func(dgst uint8) func(t *testing.T) *client {
		return func(t *testing.T) *client {
			queues++
			return ioQueue(t, at, ctl, options{dgst: dgst}, queues)
		}
	}
	plain, digests := queue(0), queue(3)
	header := func(typ, flags, hlen, pdo byte, plen uint32) []byte {
		b := make([]byte, max(int(hlen), 8), 256)
		b[0], b[1], b[2], b[3] = typ, flags, hlen, pdo
		binary.LittleEndian.PutUint32(b[4:], plen)
		return b
	}
	icReq := func(change func(b []byte)) []byte {
		b := make([]byte, 128)
		(&nvme.ICReq{}).Encode(b)
		change(b)
		return b
	}
	write := func(c *client, id uint8, length, inline uint32) []byte {
		e := c.rw(nvme.IOWrite, 1, 0, 8)
		b := c.capsule(e, make([]byte, inline), inline > 0)
		nvme.CapsuleSQE(b).SGL().Set(id, 0, length)
		return b
	}
	// afterR2T starts a write of 4096 bytes and answers the R2T with what change makes of its header.
	afterR2T := func(change func(h []byte)) func(c *client) []byte {
		return func(c *client) []byte {
			c.send(write(c, nvme.SGLTransport, 4096, 0))
			fr, r2t, err := c.pdu()
			if err != nil || fr.Type != nvme.PDUR2T {
				c.tb.Fatalf("no R2T: %v", err)
			}
			h := nvme.DataHeader(r2t)
			b := make([]byte, 24+512)
			c.framing.PutCH(b, nvme.PDUH2CData, nvme.FlagLast, 512)
			nvme.DataHeader(b).Set(h.CCCID(), h.TTAG(), 0, 512)
			change(b)
			return b
		}
	}
	fixed := func(b []byte) func(*client) []byte { return func(*client) []byte { return b } }

	for _, x := range []struct {
		what string
		dial func(t *testing.T) *client
		send func(c *client) []byte
		fes  nvme.FES
		fei  uint32
	}{
		{"a web browser", raw, fixed([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")), 1, 0},
		{"a command first", raw, fixed(header(4, 0, 72, 0, 72)), 2, 0},
		{"a type of the controller", raw, fixed(header(1, 0, 128, 0, 128)), 1, 0},
		{"ICReq with a short header", raw, fixed(icReq(func(b []byte) { b[2] = 127 })), 1, 2},
		{"ICReq with data", raw, fixed(icReq(func(b []byte) { b[4] = 129 })), 1, 4},
		{"ICReq of 4 GiB", raw, fixed(icReq(func(b []byte) { copy(b[4:], "\xff\xff\xff\xff") })), 1, 4},
		{"ICReq of version 1", raw, fixed(icReq(func(b []byte) { b[8] = 1 })), 1, 8},
		{"ICReq with an alignment of 33", raw, fixed(icReq(func(b []byte) { b[10] = 32 })), 1, 10},
		{"a second ICReq", plain, fixed(icReq(func([]byte) {})), 2, 0},
		{"type 8", plain, fixed(header(8, 0, 24, 0, 24)), 1, 0},
		{"capsule with a short header", plain, fixed(header(4, 0, 64, 0, 72)), 1, 2},
		{"capsule of 10 bytes", plain, fixed(header(4, 0, 72, 0, 10)), 1, 4},
		{"capsule with data in its header", plain, fixed(header(4, 0, 72, 16, 1000)), 1, 3},
		{"capsule of 4 GiB", plain, fixed(header(4, 0, 72, 72, 1<<32-1)), 5, 0},
		{"capsule one byte too large", plain, func(c *client) []byte { return write(c, nvme.SGLInCapsule, 4097, 4097)[:72] }, 5, 0},
		{"in-capsule data of another length", plain, func(c *client) []byte { return write(c, nvme.SGLInCapsule, 4096, 512) }, 1, 4},
		{"in-capsule data with a transport SGL", plain, func(c *client) []byte { return write(c, nvme.SGLTransport, 512, 512) }, 6, 47},
		{"in-capsule data that is missing", plain, func(c *client) []byte { return write(c, nvme.SGLInCapsule, 4096, 0) }, 6, 47},
		{"in-capsule offset", plain, func(c *client) []byte {
			b := write(c, nvme.SGLInCapsule, 512, 512)
			b[8+24] = 4
			return b
		}, 6, 32},
		{"SGL segments", plain, func(c *client) []byte { return write(c, 0x20, 4096, 0) }, 6, 47},
		{"keyed SGL on a read", plain, func(c *client) []byte {
			b := c.capsule(c.rw(nvme.IORead, 1, 0, 1), nil, false)
			nvme.CapsuleSQE(b).SGL().Set(0x40, 0, 512)
			return b
		}, 6, 47},
		{"a write of 4 GiB", plain, func(c *client) []byte { return write(c, nvme.SGLTransport, 1<<32-1, 0) }, 5, 0},
		{"a read of 4 GiB", plain, func(c *client) []byte {
			b := c.capsule(c.rw(nvme.IORead, 1, 0, 1), nil, false)
			nvme.CapsuleSQE(b).SGL().Set(nvme.SGLTransport, 0, 1<<32-1)
			return b
		}, 5, 0},
		{"a digest nobody asked for", plain, fixed(header(4, 1, 72, 0, 76)), 1, 1},
		{"a digest that is missing", digests, fixed(header(4, 0, 72, 0, 72)), 1, 1},
		{"a wrong header digest", digests, fixed(append(header(4, 1, 72, 0, 76), 1, 2, 3, 4)), 3, 0x04030201},
		{"data nobody asked for", plain, fixed(header(6, 0, 24, 24, 24+512)), 1, 16},
		{"data for an unknown tag", plain, func(*client) []byte {
			b := header(6, 0, 24, 24, 24+512)
			nvme.DataHeader(b).Set(0, 9, 0, 512)
			return append(b, make([]byte, 512)...)
		}, 1, 10},
		{"data for another command", plain, afterR2T(func(h []byte) { h[8] ^= 0x55 }), 1, 8},
		{"data at another offset", plain, afterR2T(func(h []byte) { h[12] = 4 }), 4, 0},
		{"data of another length than its PDU", plain, afterR2T(func(h []byte) { h[16] = 4 }), 1, 16},
		{"data PDU without data", plain, afterR2T(func(h []byte) { copy(h[4:], "\x18\x00\x00\x00"); copy(h[16:], "\x00\x00\x00\x00") }), 1, 4},
		{"more data than was asked for", plain, afterR2T(func(h []byte) {
			binary.LittleEndian.PutUint32(h[4:], 24+5000)
			binary.LittleEndian.PutUint32(h[16:], 5000)
		}), 4, 0},
		{"data of 4 GiB", plain, afterR2T(func(h []byte) {
			binary.LittleEndian.PutUint32(h[4:], 1<<32-1)
			binary.LittleEndian.PutUint32(h[16:], 1<<32-1-24)
		}), 4, 0},
		{"a terminate request that is too long", plain, fixed(header(2, 0, 24, 0, 153)), 1, 4},
	} {
		t.Run(x.what, func(t *testing.T) {
			c := x.dial(t)
			c.tb = t
			b := x.send(c)
			c.send(b)
			c.framing = nvme.Framing{}
			fr, got, err := c.pdu()
			if err != nil || fr.Type != nvme.PDUC2HTermReq {
				t.Fatalf("answer %+v, %v, want a terminate request", fr, err)
			}
			term, err := nvme.DecodeTermReq(got)
			if err != nil || term.FES != x.fes || term.FEI != x.fei || !bytes.HasPrefix(b, term.Header[:min(8, len(term.Header))]) {
				t.Errorf("terminate request %s at %#x with %x, %v, want %s at %#x", term.FES, term.FEI, term.Header, err, x.fes, x.fei)
			}
			if !c.closed() {
				t.Error("the connection stays")
			}
			if got := witness.read(1, 0, 1, 512); got.status != nvme.Success {
				t.Errorf("another queue: %v", got.status)
			}
		})
	}
}

// TestHostileBehaviour breaks rules that are not about single PDUs.
func TestHostileBehaviour(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	d := newSlow(newRAM(512, 4096))
	defer close(d.gate)
	at := export(t, tgt, d)
	ctl := admin(t, at, options{})

	t.Run("more commands than the queue holds", func(t *testing.T) {
		c := ioQueue(t, at, ctl, options{sqsize: 3}, 1)
		for range 20 {
			e := c.rw(nvme.IORead, 1, 0, 1)
			e.SGL().Set(nvme.SGLTransport, 0, 512)
			if _, err := c.conn.Write(c.capsule(e, nil, false)); err != nil {
				break
			}
		}
		fr, b, err := c.pdu()
		if err != nil || fr.Type != nvme.PDUC2HTermReq {
			t.Errorf("answer %+v %x, %v", fr, b, err)
		}
		for range 8 { // what was let in ends, so that the queue can
			d.gate <- struct{}{}
		}
	})
	t.Run("half a command, then nothing", func(t *testing.T) {
		c := ioQueue(t, at, ctl, options{}, 2)
		c.send(c.capsule(c.sqe(nvme.IOFlush, 1), nil, false)[:40])
		c.conn.Close()
	})
	t.Run("a terminate request", func(t *testing.T) {
		c := ioQueue(t, at, ctl, options{}, 3)
		c.send((&nvme.TermReq{FES: nvme.FESSequence, Header: make([]byte, 24)}).Encode(true))
		if _, _, err := c.pdu(); !errors.Is(err, io.EOF) {
			t.Errorf("answer: %v", err)
		}
	})
	t.Run("two connects", func(t *testing.T) {
		c := ioQueue(t, at, ctl, options{}, 4)
		if got := c.connect(5, ctl.cntlid); got.status.Code() != nvme.StatusCommandSequence {
			t.Errorf("second connect: %v", got.status)
		}
	})
	t.Run("connect without data", func(t *testing.T) {
		c := dial(t, at, options{})
		e := c.sqe(nvme.Fabrics, 0)
		e.SetConnect(0, 31, 0, 0)
		if got := c.do(e, nil, false); got.status.Code() != nvme.StatusInvalidField {
			t.Errorf("connect: %v", got.status)
		}
	})
	t.Run("connect with an endless name", func(t *testing.T) {
		c := dial(t, at, options{})
		e := c.sqe(nvme.Fabrics, 0)
		e.SetConnect(0, 31, 0, 0)
		b := bytes.Repeat([]byte{'x'}, nvme.ConnectDataSize)
		if got := c.do(e, b, true); got.status.Code() != nvme.StatusConnectInvalidParam {
			t.Errorf("connect: %v", got.status)
		}
	})
	t.Run("a wrong data digest", func(t *testing.T) {
		c := admin(t, at, options{dgst: nvme.DGSTData})
		e := c.sqe(0, 0)
		e.SetFeature(nvme.FeatureHostBehavior, 0)
		b := c.capsule(e, make([]byte, 512), true)
		b[len(b)-1]++
		c.send(b)
		if a, err := c.collect(e.CID(), nil); err != nil || a.status.Code() != nvme.StatusTransientTransport {
			t.Errorf("answer: %v, %v", a.status, err)
		}
		if got := c.do(c.sqe(nvme.AdminKeepAlive, 0), nil, false); got.status != nvme.Success {
			t.Errorf("the queue does not go on: %v", got.status)
		}
	})
	t.Run("an admin queue that goes takes its I/O queues along", func(t *testing.T) {
		a := admin(t, at, options{})
		q := ioQueue(t, at, a, options{}, 1)
		a.conn.Close()
		if !q.closed() {
			t.Error("the I/O queue stays")
		}
	})
}

// TestSilentConnections opens connections and says nothing.
func TestSilentConnections(t *testing.T) {
	tgt, err := target.New(target.Config{MaxUnassociated: 3})
	must(t, err)
	t.Cleanup(func() { must(t, tgt.Close()) })
	must(t, tgt.CreateTransport(target.TransportOptions{}))
	at := export(t, tgt)
	queue := admin(t, at, options{}) // is connected, and so does not count
	for range 3 {
		dial(t, at, options{})
	}
	if _, err := dialRaw(t, at).Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a fourth silent connection: %v", err)
	}
	if got := queue.do(queue.sqe(nvme.AdminKeepAlive, 0), nil, false); !got.status.OK() {
		t.Errorf("keep alive: %v", got.status)
	}
}

// FuzzConnection throws bytes at a connection, before and after it is initialized and connected.
func FuzzConnection(f *testing.F) {
	f.Add([]byte{4, 0, 72, 0, 72, 0, 0, 0}, uint8(0))
	f.Add([]byte{6, 0, 24, 24, 24, 2, 0, 0}, uint8(1))
	f.Add(bytes.Repeat([]byte{4, 0, 72, 72, 72, 4, 0, 0, 2, 0x40}, 120), uint8(2))
	tgt := newTarget(f, target.TransportOptions{})
	at := export(f, tgt, newRAM(512, 64))
	ctl := admin(f, at, options{})
	must(f, ctl.conn.SetDeadline(time.Time{}))
	f.Fuzz(func(t *testing.T, b []byte, stage uint8) {
		ctl.tb = t
		c := &client{tb: t, conn: dialRaw(t, at)}
		switch stage % 3 {
		case 1:
			c = dial(t, at, options{dgst: stage >> 2 & 3})
		case 2:
			c = ioQueue(t, at, ctl, options{dgst: stage >> 2 & 3}, uint16(stage>>4)+1)
		}
		must(t, c.conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, _ = c.conn.Write(b)
		c.conn.Close()
		// The target is as alive as before.
		if got := ctl.do(ctl.sqe(nvme.AdminKeepAlive, 0), nil, false); got.status != nvme.Success {
			t.Errorf("keep alive: %v", got.status)
		}
		for range 100 {
			l, err := tgt.Controllers(subNQN)
			if err != nil || len(l) == 0 {
				t.Fatalf("controllers: %v", err)
			}
			if l[0].Queues == 1 {
				return
			}
			<-time.After(time.Millisecond)
		}
	})
}
