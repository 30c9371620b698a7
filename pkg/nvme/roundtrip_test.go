// SPDX-License-Identifier: Apache-2.0

package nvme_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// structure lets one fuzz test go over all structures: decode reads one, and returns it with a
// function that writes it.
type structure struct {
	name   string
	size   int
	decode func(b []byte) (any, func(b []byte), error)
}

func of[T any, P interface {
	*T
	Encode(b []byte)
}](name string, size int, decode func(b []byte) (T, error)) structure {
	return structure{name, size, func(b []byte) (any, func([]byte), error) {
		v, err := decode(b)
		return v, P(&v).Encode, err
	}}
}

func structures() []structure {
	return []structure{
		of("connect", nvme.ConnectDataSize, nvme.DecodeConnectData),
		of("controller", nvme.IdentifySize, nvme.DecodeIdentifyController),
		of("namespace", nvme.IdentifySize, nvme.DecodeIdentifyNamespace),
		of("independent", nvme.IdentifySize, nvme.DecodeIdentifyNamespaceIndependent),
		of("nvm", nvme.IdentifySize, nvme.DecodeIdentifyControllerNVM),
		of("descriptors", nvme.IdentifySize, nvme.DecodeDescriptors),
		of("health", nvme.LogHealthSize, nvme.DecodeHealth),
		of("firmware", nvme.LogFirmwareSize, nvme.DecodeFirmware),
		of("discovery header", nvme.DiscoveryHeaderSize, nvme.DecodeDiscoveryHeader),
		of("discovery entry", nvme.DiscoveryEntrySize, nvme.DecodeDiscoveryEntry),
		of("ICReq", nvme.PDUHeaderMax, nvme.DecodeICReq),
		of("ICResp", nvme.PDUHeaderMax, nvme.DecodeICResp),
	}
}

func TestShortBuffers(t *testing.T) {
	for _, s := range structures() {
		if _, _, err := s.decode(make([]byte, s.size-1)); !errors.Is(err, nvme.ErrShort) {
			t.Errorf("%s: one byte short gives %v", s.name, err)
		}
		if _, _, err := s.decode(make([]byte, s.size)); err != nil {
			t.Errorf("%s: all zero gives %v", s.name, err)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte("\x01\x08\x00\x00abcdefgh\x04\x01\x00\x00\x02\x03\x10"))
	f.Fuzz(func(t *testing.T, seed []byte) {
		if len(seed) == 0 {
			return
		}
		for _, s := range structures() {
			b := make([]byte, s.size)
			for i := range b {
				b[i] = seed[i%len(seed)]
			}
			v, write, err := s.decode(b)
			if err != nil {
				continue
			}
			again := make([]byte, s.size)
			write(again)
			w, _, err := s.decode(again)
			if err != nil || !reflect.DeepEqual(v, w) {
				t.Errorf("%s: %+v became %+v, %v", s.name, v, w, err)
			}
		}
	})
}

func FuzzLists(f *testing.F) {
	f.Add(nvme.EncodeANA(3, []nvme.ANAGroup{{ANAGRPID: 1, State: nvme.ANAOptimized, NSIDs: []uint32{1, 2}}}))
	f.Add(nvme.EncodeDiscovery(9, []nvme.DiscoveryEntry{{TRTYPE: nvme.TRTYPETCP, SUBNQN: "nqn.2016-06.io.spdk:a", TRADDR: "127.0.0.1", TRSVCID: "4420"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if count, groups, err := nvme.DecodeANA(b); err == nil {
			c2, g2, err := nvme.DecodeANA(nvme.EncodeANA(count, groups))
			if err != nil || c2 != count || !reflect.DeepEqual(groups, g2) {
				t.Errorf("ANA log %+v became %+v, %v", groups, g2, err)
			}
		}
		if gen, entries, err := nvme.DecodeDiscovery(b); err == nil {
			gen2, e2, err := nvme.DecodeDiscovery(nvme.EncodeDiscovery(gen, entries))
			if err != nil || gen2 != gen || !reflect.DeepEqual(entries, e2) {
				t.Errorf("discovery log %+v became %+v, %v", entries, e2, err)
			}
		}
		if ids, err := nvme.DecodeNamespaceList(b); err == nil {
			page := make([]byte, nvme.IdentifySize)
			nvme.EncodeNamespaceList(page, ids)
			again, err := nvme.DecodeNamespaceList(page)
			if err != nil || !reflect.DeepEqual(ids, again) {
				t.Errorf("namespace list %v became %v, %v", ids, again, err)
			}
		}
		if r, err := nvme.DecodeCopy(b, 0); err == nil {
			if again, err := nvme.DecodeCopy(nvme.EncodeCopy(nil, []nvme.CopyRange{r}), 0); err != nil || again != r {
				t.Errorf("range %+v became %+v, %v", r, again, err)
			}
		}
		for i := range 3 {
			r, err := nvme.DecodeDSM(b, i)
			if err != nil {
				continue
			}
			if again, err := nvme.DecodeDSM(nvme.EncodeDSM(nil, []nvme.DSMRange{r}), 0); err != nil || again != r {
				t.Errorf("range %+v became %+v, %v", r, again, err)
			}
		}
	})
}

func TestCommandFields(t *testing.T) {
	e := nvme.SQE(make([]byte, nvme.SQESize))
	want := nvme.LogRequest{LID: nvme.LogDiscovery, LSP: 5, RAE: true, Length: 4 * 70000, Offset: 1<<33 + 4}
	e.SetLogRequest(want)
	if got := e.LogRequest(); got != want {
		t.Errorf("log request = %+v, want %+v", got, want)
	}
	e.SetSLBA(1<<40 + 1)
	e.SetBlocks(65536)
	if e.SLBA() != 1<<40+1 || e.Blocks() != 65536 {
		t.Errorf("range = %d+%d", e.SLBA(), e.Blocks())
	}
	if sq, cq := nvme.SplitNumberOfQueues(nvme.NumberOfQueues(4, 8)); sq != 4 || cq != 8 {
		t.Errorf("queues = %d, %d", sq, cq)
	}
	e.SetPropertySet(nvme.PropertyCC, uint64(nvme.MakeCC().WithSHN(nvme.SHNNormal)))
	if cc := nvme.CC(e.PropertyValue()); !cc.EN() || cc.SHN() != nvme.SHNNormal || cc.IOSQES() != 6 || cc.IOCQES() != 4 || e.OFST() != 0x14 || e.ATTRIB() != 0 {
		t.Errorf("CC = %#x", uint32(cc))
	}
	if nvme.DataTransfer(e) != nvme.TransferNone {
		t.Error("Property Set moves data")
	}
	e.SetFabrics(nvme.FabricsConnect)
	if nvme.DataTransfer(e) != nvme.TransferH2C {
		t.Error("Connect moves no data to the controller")
	}
}
