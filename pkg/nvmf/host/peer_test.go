// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

// peer is a controller that can be told to misbehave: a script on the wire, no more correct than the
// tests of bad behaviour need.
type peer struct {
	t  *testing.T
	ln net.Listener
	// greet, if set, answers ICReq in place of the peer. It returns false to end the connection.
	greet func(c *peerConn) bool
	// answer, if set, may answer a command in place of the peer and returns whether it has.
	answer func(c *peerConn, e nvme.SQE) bool
	// identify, if set, edits what Identify returns.
	identify func(cns uint8, data []byte)
	// cntlid is the controller identifier; 0 stands for 1.
	cntlid uint16
}

// peerConn is a connection to the peer.
type peerConn struct {
	net.Conn
	t    *testing.T
	peer *peer
	qid  uint16
}

const (
	peerBlocks = 1024
	peerBlock  = 512
)

// newPeer starts a peer that ends with the test.
func newPeer(t *testing.T) *peer {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, ln: ln}
	var conns sync.WaitGroup
	over := make(chan struct{})
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				stop := make(chan struct{})
				conns.Go(func() {
					select {
					case <-over:
					case <-stop:
					}
					_ = conn.Close()
				})
				(&peerConn{Conn: conn, t: t, peer: p}).serve()
				close(stop)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		close(over)
		conns.Wait()
	})
	return p
}

func (p *peer) trid() host.TransportID {
	addr := p.ln.Addr().(*net.TCPAddr)
	_, port, _ := net.SplitHostPort(addr.String())
	return host.TransportID{Trtype: "TCP", Adrfam: "IPv4", Traddr: "127.0.0.1", Trsvcid: port, Subnqn: subnqn}
}

// serve answers until the connection ends.
func (c *peerConn) serve() {
	r := bufio.NewReader(c)
	if _, err := io.ReadFull(r, make([]byte, nvme.PDUHeaderMax)); err != nil {
		return
	}
	if c.peer.greet != nil {
		if !c.peer.greet(c) {
			return
		}
	} else {
		resp := nvme.ICResp{MAXH2CDATA: 4096}
		c.sendIC(resp)
	}
	for {
		head := make([]byte, nvme.CHSize)
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		pdu := make([]byte, nvme.CH(head).PLEN())
		copy(pdu, head)
		if _, err := io.ReadFull(r, pdu[nvme.CHSize:]); err != nil {
			return
		}
		if nvme.CH(head).Type() != nvme.PDUCapsuleCmd {
			continue
		}
		e := nvme.CapsuleSQE(pdu)
		if e.OPC() == nvme.Fabrics && e.FCTYPE() == nvme.FabricsConnect {
			c.qid = e.QID()
		}
		if c.peer.answer == nil || !c.peer.answer(c, e) {
			c.reply(e)
		}
	}
}

// reply answers as a good controller does.
func (c *peerConn) reply(e nvme.SQE) {
	switch {
	case e.OPC() == nvme.Fabrics && e.FCTYPE() == nvme.FabricsConnect:
		c.complete(e.CID(), 0, uint64(max(c.peer.cntlid, 1)))
	case e.OPC() == nvme.Fabrics && e.FCTYPE() == nvme.FabricsPropertyGet:
		values := map[uint32]uint64{
			nvme.PropertyCAP: uint64(nvme.MakeCAP(127, 1, nvme.CAPCQR|nvme.CAPCSSNVM)), nvme.PropertyVS: 2 << 16,
			nvme.PropertyCSTS: uint64(nvme.CSTSRDY),
		}
		c.complete(e.CID(), 0, values[e.OFST()])
	case e.OPC() == nvme.Fabrics:
		c.complete(e.CID(), 0, 0)
	case c.qid > 0 && e.OPC() == nvme.IORead:
		c.data(e.CID(), 0, make([]byte, e.SGL().Length()), nvme.FlagLast)
		c.complete(e.CID(), 0, 0)
	case c.qid > 0:
		c.complete(e.CID(), 0, 0)
	case e.OPC() == nvme.AdminAsyncEventReq: // nothing ever happens
	case e.OPC() == nvme.AdminIdentify:
		c.data(e.CID(), 0, c.identity(uint8(e.CDW(10))), nvme.FlagLast)
		c.complete(e.CID(), 0, 0)
	case e.OPC() == nvme.AdminSetFeatures && e.FID() == nvme.FeatureNumberOfQueues:
		c.complete(e.CID(), 0, uint64(nvme.NumberOfQueues(1, 1)))
	default:
		c.complete(e.CID(), 0, 0)
	}
}

// identity is what Identify returns.
func (c *peerConn) identity(cns uint8) []byte {
	data := make([]byte, nvme.IdentifySize)
	switch cns {
	case nvme.CNSController:
		(&nvme.IdentifyController{
			SN: "SN", MN: "peer", MDTS: 5, CNTLID: 1, NN: 1, IOCCSZ: 4, IORCSZ: 1, OAES: nvme.OAESNamespace,
			ONCS: nvme.ONCSCompare | nvme.ONCSDSM | nvme.ONCSWriteZeroes, SUBNQN: subnqn,
		}).Encode(data)
	case nvme.CNSActiveNamespaces:
		nvme.EncodeNamespaceList(data, []uint32{1})
	case nvme.CNSNamespace:
		ns := nvme.IdentifyNamespace{NSZE: peerBlocks, NCAP: peerBlocks, NUSE: peerBlocks}
		ns.LBAF[0].LBADS = 9
		ns.Encode(data)
	case nvme.CNSDescriptors:
		(&nvme.Descriptors{UUID: [16]byte{1, 2, 3}}).Encode(data)
	}
	if c.peer.identify != nil {
		c.peer.identify(cns, data)
	}
	return data
}

// send writes bytes; when the other end has gone there is nobody to care.
func (c *peerConn) send(b []byte) { _, _ = c.Write(b) }

func (c *peerConn) sendIC(resp nvme.ICResp) {
	b := make([]byte, nvme.PDUHeaderMax)
	resp.Encode(b)
	c.send(b)
}

// pdu makes a PDU with a header that fill may change.
func pdu(t nvme.PDUType, flags uint8, data []byte, fill func(b []byte)) []byte {
	var f nvme.Framing
	b := make([]byte, f.HeaderSpace(t, len(data) > 0)+len(data))
	space := f.PutCH(b, t, flags, uint32(len(data)))
	copy(b[space:], data)
	fill(b)
	return b
}

func (c *peerConn) complete(cid uint16, status nvme.Status, value uint64) {
	c.send(pdu(nvme.PDUCapsuleResp, 0, nil, func(b []byte) {
		cqe := nvme.CapsuleCQE(b)
		cqe.SetCID(cid)
		cqe.SetStatus(status)
		cqe.SetValue(value)
	}))
}

func (c *peerConn) data(cid uint16, offset uint32, data []byte, flags uint8) {
	c.send(pdu(nvme.PDUC2HData, flags, data, func(b []byte) {
		nvme.DataHeader(b).Set(cid, 0, offset, uint32(len(data)))
	}))
}

func (c *peerConn) r2t(cid uint16, offset, length uint32) {
	c.send(pdu(nvme.PDUR2T, 0, nil, func(b []byte) { nvme.DataHeader(b).Set(cid, 7, offset, length) }))
}

// putLen changes PLEN of a PDU.
func putLen(b []byte, n uint32) []byte {
	binary.LittleEndian.PutUint32(b[4:], n)
	return b
}
