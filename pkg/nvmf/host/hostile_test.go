// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/bdevtest"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

// logBuffer collects a log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// watched is a client whose log can be looked into, and that waits only shortly.
func watched(t *testing.T) (*client, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	return newClient(t, func(cfg *host.Config) {
		cfg.Log = slog.New(slog.NewTextHandler(log, nil))
		cfg.AnswerTimeout = 300 * time.Millisecond
	}), log
}

// TestBadGreeting: whatever answers the connection request wrongly is not attached.
func TestBadGreeting(t *testing.T) {
	for name, greet := range map[string]func(c *peerConn) bool{
		"silence":      func(*peerConn) bool { return true },
		"closes":       func(*peerConn) bool { return false },
		"text":         func(c *peerConn) bool { c.send([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); return true },
		"other type":   func(c *peerConn) bool { c.complete(0, 0, 0); return true },
		"version":      func(c *peerConn) bool { c.sendIC(nvme.ICResp{PFV: 1, MAXH2CDATA: 4096}); return true },
		"alignment":    func(c *peerConn) bool { c.sendIC(nvme.ICResp{CPDA: 32, MAXH2CDATA: 4096}); return true },
		"small data":   func(c *peerConn) bool { c.sendIC(nvme.ICResp{MAXH2CDATA: 4}); return true },
		"odd data":     func(c *peerConn) bool { c.sendIC(nvme.ICResp{MAXH2CDATA: 4099}); return true },
		"more digests": func(c *peerConn) bool { c.sendIC(nvme.ICResp{DGST: nvme.DGSTData, MAXH2CDATA: 4096}); return true },
		"huge":         func(c *peerConn) bool { c.send(putLen(make([]byte, 128), 0xffffffff)); return true },
		"half":         func(c *peerConn) bool { c.send(make([]byte, 4)); return false },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.greet = greet
			c, _ := watched(t)
			_, err := c.Attach(t.Context(), c.options("nvme0", p.trid()))
			wantErrno(t, err, syscall.EIO)
			if len(c.Controllers()) != 0 {
				t.Error("a controller is listed")
			}
		})
	}
}

// TestBadAnswers: a controller that breaks the protocol loses the connection, for a reason in the log,
// and the request is done again on the next one, on which it behaves.
func TestBadAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		op  bdev.Op
		bad func(c *peerConn, cid uint16)
		log string
	}{
		"unknown command":      {bdev.OpRead, func(c *peerConn, cid uint16) { c.complete(cid+1, 0, 0) }, "is not in use"},
		"command out of range": {bdev.OpRead, func(c *peerConn, _ uint16) { c.complete(0xffff, 0, 0) }, "is not in use"},
		"success without data": {bdev.OpRead, func(c *peerConn, cid uint16) { c.complete(cid, 0, 0) }, "after 0 of 4096 bytes"},
		"answers twice":        {bdev.OpFlush + 0, func(c *peerConn, cid uint16) { c.complete(cid, 0, 0); c.complete(cid, 0, 0) }, "is not in use"},
		"data for nobody":      {bdev.OpRead, func(c *peerConn, cid uint16) { c.data(cid+1, 0, make([]byte, 512), 0) }, "is not in use"},
		"data too long":        {bdev.OpRead, func(c *peerConn, cid uint16) { c.data(cid, 0, make([]byte, 8192), nvme.FlagLast) }, "data at 0, 8192 bytes"},
		"data outside":         {bdev.OpRead, func(c *peerConn, cid uint16) { c.data(cid, 0xfffffff0, make([]byte, 512), 0) }, "data at 4294967280"},
		"data with a gap":      {bdev.OpRead, func(c *peerConn, cid uint16) { c.data(cid, 512, make([]byte, 512), 0) }, "data at 512"},
		"data twice": {bdev.OpRead, func(c *peerConn, cid uint16) {
			c.data(cid, 0, make([]byte, 512), 0)
			c.data(cid, 0, make([]byte, 512), 0)
		}, "data at 0"},
		"short data":       {bdev.OpRead, func(c *peerConn, cid uint16) { c.data(cid, 0, make([]byte, 512), nvme.FlagLast|nvme.FlagSuccess) }, "after 512 of 4096"},
		"data for a write": {bdev.OpWrite, func(c *peerConn, cid uint16) { c.data(cid, 0, make([]byte, 512), 0) }, "which reads none"},
		"length of data lies": {bdev.OpRead, func(c *peerConn, cid uint16) {
			b := pdu(nvme.PDUC2HData, 0, make([]byte, 512), func(b []byte) { nvme.DataHeader(b).Set(cid, 0, 0, 4096) })
			c.send(b)
		}, "DATAL is 4096"},
		"R2T for a read":      {bdev.OpRead, func(c *peerConn, cid uint16) { c.r2t(cid, 0, 512) }, "which has no data to send"},
		"R2T for nobody":      {bdev.OpWrite, func(c *peerConn, cid uint16) { c.r2t(cid+1, 0, 512) }, "is not in use"},
		"R2T too long":        {bdev.OpWrite, func(c *peerConn, cid uint16) { c.r2t(cid, 0, 4097) }, "R2T at 0, 4097 bytes"},
		"R2T outside":         {bdev.OpWrite, func(c *peerConn, cid uint16) { c.r2t(cid, 0xffffff00, 0x1000) }, "R2T at 4294967040"},
		"R2T of nothing":      {bdev.OpWrite, func(c *peerConn, cid uint16) { c.r2t(cid, 0, 0) }, "R2T at 0, 0 bytes"},
		"R2T again":           {bdev.OpWrite, func(c *peerConn, cid uint16) { c.r2t(cid, 0, 4096); c.r2t(cid, 0, 4096) }, "R2T at 0"},
		"unknown PDU":         {bdev.OpRead, func(c *peerConn, _ uint16) { c.send(append([]byte{0x42, 0, 8, 0, 8, 0, 0, 0}, make([]byte, 64)...)) }, "unknown or not for this end"},
		"a host's PDU":        {bdev.OpRead, func(c *peerConn, _ uint16) { c.send(pdu(nvme.PDUCapsuleCmd, 0, nil, func([]byte) {})) }, "unknown or not for this end"},
		"connection response": {bdev.OpRead, func(c *peerConn, _ uint16) { c.sendIC(nvme.ICResp{MAXH2CDATA: 4096}) }, "after the connection was initialized"},
		"header length": {bdev.OpRead, func(c *peerConn, _ uint16) {
			b := pdu(nvme.PDUCapsuleResp, 0, nil, func([]byte) {})
			b[2] = 99
			c.send(b)
		}, "HLEN"},
		"PDU shorter than head": {bdev.OpRead, func(c *peerConn, _ uint16) { c.send(putLen(pdu(nvme.PDUCapsuleResp, 0, nil, func([]byte) {}), 9)) }, "PLEN is 9"},
		"answer of 4 GiB": {bdev.OpRead, func(c *peerConn, _ uint16) {
			c.send(putLen(pdu(nvme.PDUCapsuleResp, 0, nil, func([]byte) {}), 0xffffffff))
		}, "PLEN"},
		"data of 4 GiB": {bdev.OpRead, func(c *peerConn, cid uint16) {
			c.send(putLen(pdu(nvme.PDUC2HData, 0, make([]byte, 512), func(b []byte) { nvme.DataHeader(b).Set(cid, 0, 0, 0xffffffe8) }), 0xffffffff))
		}, "DATAL"},
		"digest nobody asked": {bdev.OpRead, func(c *peerConn, _ uint16) { c.send(pdu(nvme.PDUCapsuleResp, nvme.FlagHDGST, nil, func([]byte) {})) }, "header digest flag"},
		"terminates":          {bdev.OpRead, func(c *peerConn, _ uint16) { c.send((&nvme.TermReq{FES: nvme.FESSequence}).Encode(false)) }, "controller ended the connection"},
		"closes":              {bdev.OpRead, func(c *peerConn, _ uint16) { _ = c.Close() }, "connection lost"},
		"closes in an answer": {bdev.OpRead, func(c *peerConn, _ uint16) { c.send(make([]byte, 5)[:3]); _ = c.Close() }, "connection lost"},
		"closes in data": {bdev.OpRead, func(c *peerConn, cid uint16) {
			b := pdu(nvme.PDUC2HData, 0, make([]byte, 4096), func(b []byte) { nvme.DataHeader(b).Set(cid, 0, 0, 4096) })
			c.send(b[:1000])
			_ = c.Close()
		}, "connection lost"},
		"succeeds before a send": {bdev.OpWrite, func(c *peerConn, cid uint16) { c.r2t(cid, 0, 4096); c.complete(cid, 0, 0); c.complete(cid, 0, 0) }, "is not in use"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			var behaves atomic.Bool
			p.answer = func(c *peerConn, e nvme.SQE) bool {
				if c.qid == 0 || e.OPC() == nvme.Fabrics || behaves.Swap(true) {
					return false
				}
				tc.bad(c, e.CID())
				return true
			}
			c, log := watched(t)
			op := tc.op
			if op == bdev.OpFlush { // the peer has no write cache, so zeroes stand for a command without data
				op = bdev.OpWriteZeroes
			}
			c.attach("nvme0", p.trid(), forever)
			d := c.open("nvme0n1")
			var data []byte
			if op == bdev.OpRead || op == bdev.OpWrite {
				data = make([]byte, 4096)
			}
			if err := bdevtest.Do(t, d, op, 0, 8, data); err != nil {
				t.Errorf("the request was not done again: %v", err)
			}
			eventually(t, "the reason is in the log: "+tc.log, func() bool { return log.contains(tc.log) })
		})
	}
}

// TestBadIdentity: a controller that lies about itself is refused, or its namespace left out.
func TestBadIdentity(t *testing.T) {
	edit := func(cns uint8, f func(ns *nvme.IdentifyNamespace)) func(uint8, []byte) {
		return func(got uint8, data []byte) {
			if got != cns {
				return
			}
			ns, _ := nvme.DecodeIdentifyNamespace(data)
			f(&ns)
			ns.Encode(data)
		}
	}
	for name, tc := range map[string]struct {
		identify func(cns uint8, data []byte)
		fails    bool
	}{
		"block size 0":       {edit(nvme.CNSNamespace, func(ns *nvme.IdentifyNamespace) { ns.LBAF[0].LBADS = 0 }), false},
		"block size 2^63":    {edit(nvme.CNSNamespace, func(ns *nvme.IdentifyNamespace) { ns.LBAF[0].LBADS = 63 }), false},
		"2^64 blocks":        {edit(nvme.CNSNamespace, func(ns *nvme.IdentifyNamespace) { ns.NSZE = ^uint64(0) }), false},
		"format out of list": {edit(nvme.CNSNamespace, func(ns *nvme.IdentifyNamespace) { ns.FLBAS = 15 }), false},
		"separate metadata":  {edit(nvme.CNSNamespace, func(ns *nvme.IdentifyNamespace) { ns.LBAF[0].MS = 8 }), false},
		"no blocks":          {edit(nvme.CNSNamespace, func(ns *nvme.IdentifyNamespace) { ns.NSZE = 0 }), false},
		"bad descriptors": {func(cns uint8, data []byte) {
			if cns == nvme.CNSDescriptors {
				data[0], data[1] = 3, 255
			}
		}, false},
		"list does not ascend": {func(cns uint8, data []byte) {
			if cns == nvme.CNSActiveNamespaces {
				copy(data, []byte{2, 0, 0, 0, 1, 0, 0, 0})
			}
		}, true},
		"list without end": {func(cns uint8, data []byte) {
			if cns == nvme.CNSActiveNamespaces {
				for i := range nvme.NamespaceListMax {
					data[4*i] = 1
				}
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.identify = tc.identify
			c, _ := watched(t)
			names, err := c.Attach(t.Context(), c.options("nvme0", p.trid()))
			if tc.fails {
				wantErrno(t, err, syscall.EIO)
			} else if err != nil || len(names) != 0 {
				t.Errorf("names %q, error %v; the namespace is to be left out", names, err)
			}
		})
	}
}

// TestStatusOfAnswers: what a controller refuses is tried again or not, as it says.
func TestStatusOfAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		status nvme.Status
		tries  int32
	}{
		"do not retry": {nvme.StatusInternalError | nvme.DNR, 1},
		"retry":        {nvme.StatusInternalError, 4},
		"compare":      {nvme.StatusCompareFailure, 1},
		"aborted":      {nvme.StatusAbortRequested, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			var tries atomic.Int32
			p.answer = func(c *peerConn, e nvme.SQE) bool {
				if c.qid == 0 || e.OPC() == nvme.Fabrics {
					return false
				}
				tries.Add(1)
				c.complete(e.CID(), tc.status, 0)
				return true
			}
			c, _ := watched(t)
			c.attach("nvme0", p.trid())
			if err := bdevtest.Do(t, c.open("nvme0n1"), bdev.OpWriteZeroes, 0, 8, nil); err == nil {
				t.Error("the request succeeded")
			}
			if n := tries.Load(); n != tc.tries {
				t.Errorf("%d tries, want %d", n, tc.tries)
			}
		})
	}
}

// TestSilenceIsNoticedByKeepAlive: a controller that stops to answer loses the connection.
func TestSilenceIsNoticedByKeepAlive(t *testing.T) {
	p := newPeer(t)
	var silent atomic.Bool
	p.answer = func(c *peerConn, e nvme.SQE) bool {
		if c.qid > 0 && e.OPC() == nvme.IORead {
			return !silent.Swap(true) // it falls silent with the first read
		}
		return silent.Load() && c.qid == 0 && e.OPC() == nvme.AdminKeepAlive
	}
	c, log := watched(t)
	o := c.Options()
	o.KeepAliveTimeout = 100 * time.Millisecond
	if err := c.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	c.attach("nvme0", p.trid(), forever)
	if err := readOne(t, c.open("nvme0n1")); err != nil {
		t.Errorf("the read was not done again: %v", err)
	}
	eventually(t, "the reason is in the log", func() bool { return log.contains("no answer in time") })
}

// TestSilentWireIsNoticedByTheSystem: a peer that takes no more bytes, as behind a wire that was cut,
// loses the connection without a keep alive.
func TestSilentWireIsNoticedByTheSystem(t *testing.T) {
	p := newPeer(t)
	// A receive buffer for a few requests only, which connections inherit.
	raw, err := p.ln.(*net.TCPListener).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	}
	if err != nil {
		t.Fatal(err)
	}
	var deaf atomic.Bool
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	p.answer = func(c *peerConn, e nvme.SQE) bool {
		if c.qid > 0 && e.OPC() == nvme.IORead && !deaf.Swap(true) {
			<-over
		}
		return false
	}
	c, _ := watched(t)
	o := c.Options()
	o.KeepAliveTimeout, o.AckTimeout = 0, 200*time.Millisecond
	if err := c.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	c.attach("nvme0", p.trid(), forever)
	d := c.open("nvme0n1")
	const many = 100 // more than the buffers hold
	done := make(chan error, many)
	for i := range uint64(many) {
		d.Submit(&bdev.Request{
			Op: bdev.OpRead, Block: i, Count: 1, Data: make([]byte, d.Geometry().BlockSizeBytes),
			Done: func(_ *bdev.Request, err error) { done <- err },
		})
	}
	for range many {
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("a read was not done again: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("reads wait for a peer that takes no more bytes")
		}
	}
}

// FuzzController sends arbitrary bytes as the controller, after a good start.
func FuzzController(f *testing.F) {
	f.Add([]byte{})
	f.Add(pdu(nvme.PDUCapsuleResp, 0, nil, func(b []byte) { nvme.CapsuleCQE(b).SetCID(0) }))
	f.Add(pdu(nvme.PDUC2HData, nvme.FlagLast, make([]byte, 512), func(b []byte) { nvme.DataHeader(b).Set(0, 0, 0, 512) }))
	f.Add(pdu(nvme.PDUR2T, 0, nil, func(b []byte) { nvme.DataHeader(b).Set(0, 1, 0, 4096) }))
	f.Add((&nvme.TermReq{FES: nvme.FESLimitExceeded, Header: make([]byte, 24)}).Encode(false))
	f.Fuzz(func(t *testing.T, sent []byte) {
		p := newPeer(t)
		p.answer = func(c *peerConn, e nvme.SQE) bool {
			if c.qid == 0 || e.OPC() == nvme.Fabrics {
				return false
			}
			c.send(sent)
			_ = c.Close()
			return true
		}
		c, _ := watched(t)
		c.attach("nvme0", p.trid())
		d := c.open("nvme0n1")
		_ = bdevtest.Do(t, d, bdev.OpWrite, 0, 8, make([]byte, 4096)) // it may fail, but it ends
	})
}
