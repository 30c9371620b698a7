// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

const (
	hostNQN  = "nqn.2014-08.org.nvmexpress:uuid:aaaaaaaa-0000-4000-8000-000000000001"
	otherNQN = "nqn.2014-08.org.nvmexpress:uuid:aaaaaaaa-0000-4000-8000-000000000002"
	subNQN   = "nqn.2016-06.io.spdk:cnode1"
)

// options are what a client asks for when it connects.
type options struct {
	dgst   uint8
	hpda   uint8
	host   string
	sub    string
	cattr  uint8
	kato   uint32
	sqsize uint16
}

func (o options) with() options {
	if o.host == "" {
		o.host = hostNQN
	}
	if o.sub == "" {
		o.sub = subNQN
	}
	if o.sqsize == 0 {
		o.sqsize = 31
	}
	return o
}

// client is one queue, on the wire.
type client struct {
	tb      testing.TB
	opts    options
	conn    net.Conn
	in      *bufio.Reader
	framing nvme.Framing
	cid     uint16
	maxH2C  uint32
	piece   uint32 // data per H2CData, at most maxH2C
	cntlid  uint16
}

func dialRaw(tb testing.TB, at target.Address) net.Conn {
	tb.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort(at.TRADDR, at.TRSVCID))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		tb.Fatal(err)
	}
	return conn
}

// dial opens a connection and exchanges ICReq and ICResp.
func dial(tb testing.TB, at target.Address, o options) *client {
	tb.Helper()
	return dialOver(tb, dialRaw(tb, at), o)
}

// dialOver is dial over a connection that is there.
func dialOver(tb testing.TB, conn net.Conn, o options) *client {
	tb.Helper()
	c := &client{tb: tb, opts: o.with(), conn: conn}
	c.in = bufio.NewReaderSize(c.conn, 1<<20)
	b := make([]byte, nvme.PDUHeaderMax)
	(&nvme.ICReq{HPDA: o.hpda, DGST: o.dgst}).Encode(b)
	c.send(b)
	fr, p, err := c.pdu()
	if err != nil || fr.Type != nvme.PDUICResp {
		tb.Fatalf("no ICResp: %v %v", fr, err)
	}
	resp, err := nvme.DecodeICResp(p)
	if err == nil {
		err = resp.Validate()
	}
	if err != nil {
		tb.Fatal(err)
	}
	c.maxH2C, c.piece = resp.MAXH2CDATA, resp.MAXH2CDATA
	c.framing = nvme.Framing{HeaderDigest: resp.DGST&nvme.DGSTHeader != 0, DataDigest: resp.DGST&nvme.DGSTData != 0, DataAlignment: o.hpda}
	return c
}

func (c *client) send(b []byte) {
	c.tb.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.tb.Fatalf("send: %v", err)
	}
}

// pdu reads one PDU, and checks its digests.
func (c *client) pdu() (nvme.Frame, []byte, error) {
	var ch [nvme.CHSize]byte
	if _, err := io.ReadFull(c.in, ch[:]); err != nil {
		return nvme.Frame{}, nil, err
	}
	fr, err := c.framing.Check(ch[:], false)
	if err != nil {
		return fr, nil, err
	}
	b := make([]byte, fr.PDULen)
	copy(b, ch[:])
	if _, err := io.ReadFull(c.in, b[nvme.CHSize:]); err != nil {
		return fr, nil, err
	}
	if err := c.framing.CheckHeader(b, fr); err != nil {
		return fr, nil, err
	}
	if fr.DataDigest && !nvme.CheckDigest(b[fr.Data+int(fr.DataLen):], b[fr.Data:fr.Data+int(fr.DataLen)]) {
		return fr, nil, errors.New("data digest is wrong")
	}
	return fr, b, nil
}

// capsule returns a command as it goes over the wire; data goes along when inCapsule is set.
func (c *client) capsule(e nvme.SQE, data []byte, inCapsule bool) []byte {
	out := c.framing
	out.DataAlignment = 0
	n := 0
	if inCapsule {
		n = len(data)
		e.SGL().Set(nvme.SGLInCapsule, 0, uint32(n))
	}
	b := make([]byte, 1024+n)
	at := out.PutCH(b, nvme.PDUCapsuleCmd, 0, uint32(n))
	copy(nvme.CapsuleSQE(b), e)
	out.Seal(b)
	if n == 0 {
		return b[:at]
	}
	copy(b[at:], data)
	if out.DataDigest {
		nvme.PutDigest(b[at+n:], data)
		n += nvme.DigestSize
	}
	return b[:at+n]
}

// sqe returns a new command with an identifier of its own.
func (c *client) sqe(opc uint8, nsid uint32) nvme.SQE {
	c.cid++
	e := nvme.SQE(make([]byte, nvme.SQESize))
	e.SetOPC(opc)
	e.SetFlags(0, 1)
	e.SetCID(c.cid)
	e.SetNSID(nsid)
	return e
}

// answer is what came back for a command.
type answer struct {
	status nvme.Status
	value  uint64
	sqhd   uint16
	data   []byte
	// merged says that the data carried the completion.
	merged bool
}

// do sends a command, gives the target the data that it asks for, and collects the answer.
func (c *client) do(e nvme.SQE, data []byte, inCapsule bool) answer {
	c.tb.Helper()
	if len(data) > 0 && !inCapsule {
		e.SGL().Set(nvme.SGLTransport, 0, uint32(len(data)))
	}
	c.send(c.capsule(e, data, inCapsule))
	a, err := c.collect(e.CID(), data)
	if err != nil {
		c.tb.Fatalf("command %#02x: %v", e.OPC(), err)
	}
	return a
}

func (c *client) collect(cid uint16, data []byte) (answer, error) {
	var a answer
	for {
		fr, b, err := c.pdu()
		if err != nil {
			return a, err
		}
		switch fr.Type {
		case nvme.PDUR2T:
			h := nvme.DataHeader(b)
			if h.CCCID() != cid {
				return a, fmt.Errorf("R2T for command %d", h.CCCID())
			}
			c.sendData(h, data[h.DATAO():h.DATAO()+h.DATAL()])
		case nvme.PDUC2HData:
			h := nvme.DataHeader(b)
			if int(h.DATAO()) != len(a.data) || h.DATAL() != fr.DataLen || h.CCCID() != cid {
				return a, fmt.Errorf("data at %d for command %d", h.DATAO(), h.CCCID())
			}
			a.data = append(a.data, b[fr.Data:fr.Data+int(fr.DataLen)]...)
			if nvme.CH(b).FLAGS()&nvme.FlagSuccess != 0 {
				a.merged = true
				return a, nil
			}
		case nvme.PDUCapsuleResp:
			e := nvme.CapsuleCQE(b)
			if e.CID() != cid {
				return a, fmt.Errorf("completion of command %d", e.CID())
			}
			a.status, a.value, a.sqhd = e.Status(), e.Value(), e.SQHD()
			return a, nil
		default:
			return a, fmt.Errorf("PDU type %#02x: %x", uint8(fr.Type), b)
		}
	}
}

// sendData answers an R2T in pieces.
func (c *client) sendData(r2t nvme.DataHeader, data []byte) {
	out := c.framing
	out.DataAlignment = 0
	for at := 0; at < len(data); at += int(c.piece) {
		part := data[at:min(len(data), at+int(c.piece))]
		b := make([]byte, 256+len(part))
		var flags uint8
		if at+len(part) == len(data) {
			flags = nvme.FlagLast
		}
		n := out.PutCH(b, nvme.PDUH2CData, flags, uint32(len(part)))
		nvme.DataHeader(b).Set(r2t.CCCID(), r2t.TTAG(), r2t.DATAO()+uint32(at), uint32(len(part)))
		out.Seal(b)
		n += copy(b[n:], part)
		if out.DataDigest {
			nvme.PutDigest(b[n:], part)
			n += nvme.DigestSize
		}
		c.send(b[:n])
	}
}

// connect sends Connect for a queue.
func (c *client) connect(qid, cntlid uint16) answer {
	c.tb.Helper()
	e := c.sqe(nvme.Fabrics, 0)
	e.SetConnect(qid, c.opts.sqsize, c.opts.cattr, c.opts.kato)
	d := nvme.ConnectData{HOSTID: [16]byte{0xAA}, CNTLID: cntlid, SUBNQN: c.opts.sub, HOSTNQN: c.opts.host}
	b := make([]byte, nvme.ConnectDataSize)
	d.Encode(b)
	a := c.do(e, b, true)
	c.cntlid = uint16(a.value)
	return a
}

func (c *client) propertyGet(ofst uint32) uint64 {
	c.tb.Helper()
	e := c.sqe(nvme.Fabrics, 0)
	e.SetPropertyGet(ofst)
	a := c.do(e, nil, false)
	if a.status != nvme.Success {
		c.tb.Fatalf("property %#x: %v", ofst, a.status)
	}
	return a.value
}

func (c *client) propertySet(ofst uint32, value uint64) nvme.Status {
	c.tb.Helper()
	e := c.sqe(nvme.Fabrics, 0)
	e.SetPropertySet(ofst, value)
	return c.do(e, nil, false).status
}

// fetch sends an admin command that returns n bytes.
func (c *client) fetch(e nvme.SQE, n uint32) answer {
	c.tb.Helper()
	e.SGL().Set(nvme.SGLTransport, 0, n)
	return c.do(e, nil, false)
}

func (c *client) identify(cns uint8, nsid uint32) answer {
	c.tb.Helper()
	e := c.sqe(nvme.AdminIdentify, nsid)
	e.SetCDW(10, uint32(cns))
	return c.fetch(e, nvme.IdentifySize)
}

func (c *client) log(r nvme.LogRequest) answer {
	c.tb.Helper()
	e := c.sqe(0, 0)
	e.SetLogRequest(r)
	return c.fetch(e, uint32(r.Length))
}

// rw returns a command that names blocks.
func (c *client) rw(opc uint8, nsid uint32, lba uint64, blocks uint32) nvme.SQE {
	e := c.sqe(opc, nsid)
	e.SetSLBA(lba)
	e.SetBlocks(blocks)
	return e
}

func (c *client) read(nsid uint32, lba uint64, blocks, bytes uint32) answer {
	c.tb.Helper()
	return c.fetch(c.rw(nvme.IORead, nsid, lba, blocks), bytes)
}

// admin connects and enables an admin queue.
func admin(tb testing.TB, at target.Address, o options) *client {
	tb.Helper()
	c := dial(tb, at, o)
	if a := c.connect(0, nvme.CNTLIDDynamic); a.status != nvme.Success {
		tb.Fatalf("connect: %v, %#x", a.status, a.value)
	}
	if s := c.propertySet(nvme.PropertyCC, uint64(nvme.MakeCC())); s != nvme.Success {
		tb.Fatalf("enable: %v", s)
	}
	if csts := c.propertyGet(nvme.PropertyCSTS); csts != uint64(nvme.CSTSRDY) {
		tb.Fatalf("CSTS = %#x", csts)
	}
	return c
}

// ioQueue connects an I/O queue to the controller of an admin queue.
func ioQueue(tb testing.TB, at target.Address, a *client, o options, qid uint16) *client {
	tb.Helper()
	c := dial(tb, at, o)
	if got := c.connect(qid, a.cntlid); got.status != nvme.Success {
		tb.Fatalf("connect queue %d: %v, %#x", qid, got.status, got.value)
	}
	return c
}

// closed says that the target has ended the connection.
func (c *client) closed() bool {
	for {
		if _, _, err := c.pdu(); err != nil {
			var ne net.Error
			return !errors.As(err, &ne) || !ne.Timeout()
		}
	}
}

func dw(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
