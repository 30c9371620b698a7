// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

func command(admin bool, opcode uint8, nsid uint32, data int) *host.Command {
	c := &host.Command{Admin: admin, Data: make([]byte, data)}
	nvme.SQE(c.Entry[:]).SetOPC(opcode)
	nvme.SQE(c.Entry[:]).SetNSID(nsid)
	return c
}

// TestCommand passes commands on; what they answer is compared with SPDK elsewhere.
func TestCommand(t *testing.T) {
	s := newStorage(t)
	s.malloc("m", 512, 1024)
	s.export("m", 1)
	c := newClient(t)
	_, err := c.Host.Command(t.Context(), "nvme0", command(true, nvme.AdminIdentify, 1, nvme.IdentifySize))
	wantErrno(t, err, syscall.ENODEV)
	trid := s.listen("0")
	if _, err := c.Attach(t.Context(), c.options("nvme0", trid)); err != nil {
		t.Fatal(err)
	}
	identify := command(true, nvme.AdminIdentify, 1, 2*nvme.IdentifySize) // more room than is needed
	cqe, err := c.Host.Command(t.Context(), "nvme0", identify)
	if err != nil || !nvme.CQE(cqe[:]).Status().OK() {
		t.Fatalf("identify: %v, %v", nvme.CQE(cqe[:]).Status(), err)
	}
	if ns, err := nvme.DecodeIdentifyNamespace(identify.Data); err != nil || ns.NSZE != 1024 {
		t.Errorf("the namespace has %d blocks (%v)", ns.NSZE, err)
	}
	for what, bad := range map[string]*host.Command{
		"half of a pair":   command(false, nvme.IOCompare, 1, 512),
		"an event request": command(true, nvme.AdminAsyncEventReq, 0, 0),
		"data both ways":   command(false, 0xC3, 1, 512),
		"too much data":    command(false, nvme.IORead, 1, host.CommandDataMax+1),
	} {
		if what == "half of a pair" {
			nvme.SQE(bad.Entry[:]).SetFlags(nvme.FuseFirst, 0)
		}
		if _, err := c.Host.Command(t.Context(), "nvme0", bad); err == nil {
			t.Errorf("%s was sent", what)
		} else {
			wantErrno(t, err, syscall.EINVAL)
		}
	}
	if err := c.Disable(t.Context(), "nvme0", nil); err != nil {
		t.Fatal(err)
	}
	_, err = c.Host.Command(t.Context(), "nvme0", identify)
	wantErrno(t, err, syscall.ENXIO)
}

// TestCommandTimeout: a command that is not answered in time costs the connection.
func TestCommandTimeout(t *testing.T) {
	p := newPeer(t)
	p.answer = func(c *peerConn, e nvme.SQE) bool { return c.qid > 0 && e.OPC() == nvme.IORead } // reads are never answered
	c := newClient(t)
	if _, err := c.Attach(t.Context(), c.options("nvme0", p.trid())); err != nil {
		t.Fatal(err)
	}
	read := command(false, nvme.IORead, 1, 512)
	read.Timeout = time.Millisecond
	_, err := c.Host.Command(t.Context(), "nvme0", read)
	wantErrno(t, err, syscall.EIO)
}
