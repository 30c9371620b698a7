// SPDX-License-Identifier: Apache-2.0

package nvme_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatalf("hex: %v", err)
	}
	return b
}

// TestConnectCapsule builds a Connect as it stands on the wire, byte by byte from the figures of the
// specification.
func TestConnectCapsule(t *testing.T) {
	var f nvme.Framing
	b := make([]byte, 72+nvme.ConnectDataSize)
	at := f.PutCH(b, nvme.PDUCapsuleCmd, 0, nvme.ConnectDataSize)
	e := nvme.CapsuleSQE(b)
	e.SetConnect(1, 127, nvme.CATTRNoSQFlowControl, 15000)
	e.SetCID(0x1234)
	e.SGL().Set(nvme.SGLInCapsule, 0, nvme.ConnectDataSize)
	f.Seal(b)
	d := nvme.ConnectData{CNTLID: 7, SUBNQN: "nqn.2016-06.io.spdk:cnode1", HOSTNQN: "nqn.2014-08.org.nvmexpress:uuid:aaaaaaaa-0000-4000-8000-000000000001"}
	d.HOSTID[15] = 9
	d.Encode(b[at:])
	want := unhex(t, `04 00 48 48 48040000
		7f 40 3412 01 000000 0000000000000000 0000000000000000 0000000000000000 00040000 000000 01
		0000 0100 7f00 04 00 983a0000 0000000000000000 00000000`)
	if !bytes.Equal(b[:72], want) {
		t.Errorf("capsule\n got %x\nwant %x", b[:72], want)
	}
	got, err := nvme.DecodeConnectData(b[at:])
	if err != nil || got != d {
		t.Errorf("connect data = %+v, %v, want %+v", got, err, d)
	}
	if string(b[at+256:at+256+26]) != d.SUBNQN || b[at+16] != 7 || b[at+15] != 9 {
		t.Errorf("connect data is not at its offsets")
	}
}

func TestDigestOfKnownText(t *testing.T) {
	// The check value of CRC-32C.
	if got := nvme.Digest([]byte("1234"), []byte("56789")); got != 0xE3069283 {
		t.Errorf("digest = %#x", got)
	}
	b := make([]byte, 4)
	nvme.PutDigest(b, []byte("123456789"))
	if !bytes.Equal(b, []byte{0x83, 0x92, 0x06, 0xE3}) || !nvme.CheckDigest(b, []byte("123456789")) {
		t.Errorf("digest on the wire = %x", b)
	}
}

func TestICRespBytes(t *testing.T) {
	b := make([]byte, nvme.PDUHeaderMax)
	(&nvme.ICResp{CPDA: 3, DGST: nvme.DGSTData, MAXH2CDATA: 131072}).Encode(b)
	if want := unhex(t, "01 00 80 00 80000000 0000 03 02 00000200"); !bytes.Equal(b[:16], want) {
		t.Errorf("ICResp = %x, want %x", b[:16], want)
	}
}

func TestIdentifyOffsets(t *testing.T) {
	b := make([]byte, nvme.IdentifySize)
	(&nvme.IdentifyController{VID: 0x8086, SN: "SN1", MN: "SPDK bdev Controller", FR: "26.09", CNTLID: 3, VER: nvme.VS200, MAXCMD: 128, NN: 32, IOCCSZ: 260, SUBNQN: "nqn.2016-06.io.spdk:cnode1"}).Encode(b)
	for at, want := range map[int]string{
		0: "8680", 4: "534e31202020", 64: "32362e3039202020", 78: "0300", 80: "00000200", 514: "8000", 516: "20000000", 768: "6e716e2e", 1792: "04010000",
	} {
		if w := unhex(t, want); !bytes.Equal(b[at:at+len(w)], w) {
			t.Errorf("offset %d is %x, want %x", at, b[at:at+len(w)], w)
		}
	}
	ns := nvme.IdentifyNamespace{NSZE: 131072, NGUID: [16]byte{0x11}, EUI64: [8]byte{0x22}, NOWS: 255}
	ns.LBAF[0].LBADS = 9
	ns.Encode(b)
	if b[104] != 0x11 || b[120] != 0x22 || b[72] != 255 || b[130] != 9 || binary.LittleEndian.Uint64(b) != 131072 {
		t.Error("identify namespace is not at its offsets")
	}
}

func TestDescriptorBytes(t *testing.T) {
	b := make([]byte, nvme.IdentifySize)
	(&nvme.Descriptors{NGUID: [16]byte{1}, UUID: [16]byte{2}}).Encode(b)
	want := unhex(t, "02100000 01000000000000000000000000000000 03100000 02000000000000000000000000000000 00000000")
	if !bytes.Equal(b[:len(want)], want) {
		t.Errorf("descriptors = %x, want %x", b[:len(want)], want)
	}
}

func TestStatus(t *testing.T) {
	b := make([]byte, nvme.CQESize)
	e := nvme.CQE(b)
	e.SetStatus(nvme.StatusConnectInvalidHost | nvme.DNR)
	e.SetCID(5)
	e.SetSQHD(6)
	if want := unhex(t, "0000000000000000 0600 0000 0500 0883"); !bytes.Equal(b, want) {
		t.Errorf("completion = %x, want %x", b, want)
	}
	if s := e.Status(); !errors.Is(s, nvme.StatusConnectInvalidHost) || errors.Is(s, nvme.Success) || !s.DNR() || s.OK() {
		t.Errorf("status = %v", s)
	}
	if got := nvme.StatusLBAOutOfRange.String(); got != "LBA out of range (0/0x80)" {
		t.Errorf("name = %q", got)
	}
	if got := nvme.Status(0x7FE).String(); got != "7/0xfe" {
		t.Errorf("name = %q", got)
	}
}

func TestAsyncEvent(t *testing.T) {
	e := nvme.EventNamespaceChanged
	if e != 0x040002 || e.Type() != 2 || e.Info() != 0 || e.LID() != nvme.LogChangedNS {
		t.Errorf("event = %#x", uint32(e))
	}
	if nvme.EventDiscoveryChanged != 0x70F002 {
		t.Errorf("discovery event = %#x", uint32(nvme.EventDiscoveryChanged))
	}
}
