// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

func TestProperties(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	at := export(t, tgt)
	c := dial(t, at, options{})
	if got := c.do(c.sqe(nvme.AdminIdentify, 0), nil, false); got.status.Code() != nvme.StatusCommandSequence {
		t.Errorf("command before connect: %v", got.status)
	}
	if got := c.connect(0, nvme.CNTLIDDynamic); got.status != nvme.Success || c.cntlid != 1 {
		t.Fatalf("connect: %v, controller %d", got.status, c.cntlid)
	}
	caps := nvme.CAP(c.propertyGet(nvme.PropertyCAP))
	if caps.MQES() != 127 || caps&nvme.CAPCQR == 0 || caps&nvme.CAPCSSNVM == 0 || caps.TO() == 0 {
		t.Errorf("CAP = %#x", uint64(caps))
	}
	if vs := c.propertyGet(nvme.PropertyVS); vs != 0x20000 {
		t.Errorf("VS = %#x", vs)
	}
	upper := c.sqe(nvme.Fabrics, 0)
	upper.SetPropertyGet(nvme.PropertyCAP + 4)
	if got := c.do(upper, nil, false); got.value != uint64(caps)>>32 {
		t.Errorf("upper half of CAP = %#x", got.value)
	}
	for _, ofst := range []uint32{0x10, 0x3C, 0x1000, 0xFFFFFFFC} {
		e := c.sqe(nvme.Fabrics, 0)
		e.SetPropertyGet(ofst)
		if got := c.do(e, nil, false); got.status.Code() != nvme.StatusConnectInvalidParam {
			t.Errorf("property %#x: %v", ofst, got.status)
		}
	}
	if got := c.do(c.sqe(nvme.AdminKeepAlive, 0), nil, false); got.status.Code() != nvme.StatusCommandSequence {
		t.Errorf("command before enable: %v", got.status)
	}
	for _, bad := range []uint64{1 << 7, 1 << 11, 3 << 14, 1 << 4} {
		if s := c.propertySet(nvme.PropertyCC, uint64(nvme.MakeCC())|bad); s.OK() {
			t.Errorf("CC with %#x is accepted", bad)
		}
	}
	if s := c.propertySet(nvme.PropertyVS, 1); s.OK() {
		t.Error("VS can be written")
	}
	if s := c.propertySet(nvme.PropertyCC, uint64(nvme.MakeCC())); !s.OK() {
		t.Errorf("enable: %v", s)
	}
	if csts := c.propertyGet(nvme.PropertyCSTS); csts != 1 {
		t.Errorf("CSTS = %d", csts)
	}
	q := ioQueue(t, at, c, options{}, 1)
	if s := c.propertySet(nvme.PropertyCC, uint64(nvme.MakeCC().WithSHN(nvme.SHNNormal))); !s.OK() {
		t.Errorf("shutdown: %v", s)
	}
	if !q.closed() {
		t.Error("the I/O queue survives a shutdown")
	}
	eventually(t, "shutdown is complete", func() bool {
		return uint32(c.propertyGet(nvme.PropertyCSTS))&nvme.CSTSShutdownMask == nvme.CSTSShutdownDone
	})
	if s := c.propertySet(nvme.PropertyCC, 0); !s.OK() {
		t.Errorf("reset: %v", s)
	}
	eventually(t, "reset is complete", func() bool { return c.propertyGet(nvme.PropertyCSTS) == 0 })
	if s := c.propertySet(nvme.PropertyCC, uint64(nvme.MakeCC())); !s.OK() || c.propertyGet(nvme.PropertyCSTS) != 1 {
		t.Errorf("enable again: %v", s)
	}
	ioQueue(t, at, c, options{}, 1)
}

func TestIdentify(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	must(t, tgt.CreateSubsystem(target.SubsystemConfig{NQN: subNQN, SerialNumber: "SN000001", ModelNumber: "Storage One", AllowAnyHost: true}))
	id := uuid.MustParse("11111111-1111-4111-8111-111111111111")
	for _, cfg := range []target.NamespaceConfig{
		{Device: newRAM(512, 8192), UUID: id, NGUID: id, WriteCache: true},
		{Device: newRAM(4096, 1024), NSID: 3, UUID: uuid.UUID{9}, NGUID: [16]byte{1, 2}, EUI64: [8]byte{0xFE}, WriteCache: true},
	} {
		if _, err := tgt.AddNamespace(subNQN, cfg); err != nil {
			t.Fatal(err)
		}
	}
	c := admin(t, listen(t, tgt, subNQN, target.Address{TRADDR: "127.0.0.1", TRSVCID: "0"}), options{})
	d, err := nvme.DecodeIdentifyController(c.identify(nvme.CNSController, 0).data)
	want := nvme.IdentifyController{
		VID: 0x8086, SSVID: 0x8086, SN: "SN000001", MN: "Storage One", FR: "26.09", RAB: 6, IEEE: [3]byte{0xE4, 0xD2, 0x5C},
		CMIC: 3, MDTS: 5, CNTLID: 1, VER: 0x20000, OAES: 0x100, CTRATT: 1, CNTRLTYPE: 1, ACL: 3, AERL: 3, FRMW: 3, LPA: 6, ELPE: 127,
		WCTEMP: 0x157, CCTEMP: 0x175, KAS: 100, SQES: 0x66, CQES: 0x44, MAXCMD: 128, NN: 32, ONCS: 0x10D, OCFS: 1, FUSES: 1, VWC: 5, SGLS: 0x300001,
		SUBNQN: subNQN, IOCCSZ: 260, IORCSZ: 1, MSDBD: 1,
	}
	if err != nil || d != want {
		t.Errorf("controller = %+v, %v\nwant %+v", d, err, want)
	}
	for nsid, shift := range map[uint32]uint8{1: 9, 3: 12} {
		ns, err := nvme.DecodeIdentifyNamespace(c.identify(nvme.CNSNamespace, nsid).data)
		nows := uint16(uint32(131072)>>shift - 1)
		if err != nil || ns.NSZE != 4<<20>>shift || ns.Format().LBADS != shift || ns.NMIC != 1 || ns.NOWS != nows || ns.NPWG != 0 {
			t.Errorf("namespace %d = %+v, %v", nsid, ns, err)
		}
	}
	if ds, err := nvme.DecodeDescriptors(c.identify(nvme.CNSDescriptors, 3).data); err != nil || ds != (nvme.Descriptors{EUI64: [8]byte{0xFE}, NGUID: [16]byte{1, 2}, UUID: [16]byte{9}}) {
		t.Errorf("descriptors = %+v, %v", ds, err)
	}
	for after, want := range map[uint32][]uint32{0: {1, 3}, 1: {3}, 3: nil} {
		if ids, err := nvme.DecodeNamespaceList(c.identify(nvme.CNSActiveNamespaces, after).data); err != nil || !slices.Equal(ids, want) {
			t.Errorf("list after %d = %v, %v", after, ids, err)
		}
	}
	if got := c.identify(nvme.CNSNamespace, 2); got.status != nvme.Success || !allZero(got.data) {
		t.Errorf("inactive namespace: %v", got.status)
	}
	for _, x := range []struct {
		cns  uint8
		nsid uint32
		want nvme.Status
	}{
		{nvme.CNSNamespace, 0, nvme.StatusInvalidNamespace},
		{nvme.CNSNamespace, 33, nvme.StatusInvalidNamespace},
		{nvme.CNSDescriptors, 2, nvme.StatusInvalidField},
		{nvme.CNSNamespaceCSI, 1, nvme.Success},
		{nvme.CNSControllerCSI, 0, nvme.Success},
		{nvme.CNSNamespaceIndependent, 1, nvme.Success},
		{nvme.CNSActiveNamespacesCSI, 0, nvme.Success},
		{nvme.CNSActiveNamespaces, nvme.NSIDBroadcast, nvme.StatusInvalidNamespace},
		{nvme.CNSAllocatedNamespaces, 0, nvme.StatusInvalidField},
		{0xFF, 0, nvme.StatusInvalidField},
	} {
		if got := c.identify(x.cns, x.nsid); got.status.Code() != x.want {
			t.Errorf("CNS %#x of %d: %v, want %v", x.cns, x.nsid, got.status, x.want)
		}
	}
	e := c.sqe(nvme.AdminIdentify, 0)
	e.SetCDW(10, uint32(nvme.CNSController))
	if got := c.fetch(e, 512); got.status.Code() != nvme.StatusInvalidField {
		t.Errorf("identify into 512 bytes: %v", got.status)
	}
}

func TestFeatures(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	c := admin(t, export(t, tgt, newRAM(512, 8)), options{kato: 15000})
	set := func(fid uint8, v uint32) answer {
		e := c.sqe(0, 0)
		e.SetFeature(fid, v)
		return c.do(e, nil, false)
	}
	get := func(fid uint8) answer {
		e := c.sqe(nvme.AdminGetFeatures, 0)
		e.SetCDW(10, uint32(fid))
		return c.do(e, nil, false)
	}
	if got := set(nvme.FeatureNumberOfQueues, nvme.NumberOfQueues(4, 4)); got.status != nvme.Success || uint32(got.value) != nvme.NumberOfQueues(127, 127) {
		t.Errorf("number of queues: %v, %#x", got.status, got.value)
	}
	if got := get(nvme.FeatureKeepAlive); got.value != 20000 {
		t.Errorf("keep alive timeout = %d", got.value)
	}
	if got := set(nvme.FeatureKeepAlive, 0); got.status.Code() != nvme.StatusKeepAliveInvalid {
		t.Errorf("keep alive of 0: %v", got.status)
	}
	if got := set(nvme.FeatureKeepAlive, 1); got.status != nvme.Success || get(nvme.FeatureKeepAlive).value != 10000 {
		t.Errorf("keep alive of 1 ms: %v, %d", got.status, get(nvme.FeatureKeepAlive).value)
	}
	if got := get(nvme.FeatureWriteCache); got.status != nvme.Success || got.value != 1 {
		t.Errorf("write cache: %v, %d", got.status, got.value)
	}
	if got := set(nvme.FeatureWriteCache, 0); got.status != nvme.Success || get(nvme.FeatureWriteCache).value != 0 {
		t.Errorf("write cache: %v", got.status)
	}
	for fid, want := range map[uint8]nvme.Status{
		nvme.FeatureInterruptCoalescing: nvme.StatusFeatureNotChangeable,
		nvme.FeatureHostID:              nvme.StatusCommandSequence,
		0x7F:                            nvme.StatusInvalidField,
	} {
		if got := set(fid, 1); got.status.Code() != want {
			t.Errorf("feature %#x: %v, want %v", fid, got.status, want)
		}
	}
	save := c.sqe(0, 0)
	save.SetFeature(nvme.FeatureWriteCache, 1)
	save.SetCDW(10, save.CDW(10)|1<<31)
	if got := c.do(save, nil, false); got.status.Code() != nvme.StatusFeatureNotSaveable {
		t.Errorf("saved feature: %v", got.status)
	}
	e := c.sqe(nvme.AdminGetFeatures, 0)
	e.SetCDW(10, uint32(nvme.FeatureHostID))
	e.SetCDW(11, 1)
	if got := c.fetch(e, 16); got.status != nvme.Success || got.data[0] != 0xAA {
		t.Errorf("host identifier: %v, %x", got.status, got.data)
	}
	behavior := random(512)
	for _, inCapsule := range []bool{true, false} {
		behavior[0]++
		e = c.sqe(0, 0)
		e.SetFeature(nvme.FeatureHostBehavior, 0)
		if got := c.do(e, behavior, inCapsule); got.status != nvme.Success {
			t.Errorf("host behavior: %v", got.status)
		}
		e = c.sqe(nvme.AdminGetFeatures, 0)
		e.SetCDW(10, uint32(nvme.FeatureHostBehavior))
		if got := c.fetch(e, 512); !bytes.Equal(got.data, behavior) {
			t.Errorf("host behavior: %v, %x", got.status, got.data)
		}
	}
	for opc, nsid := range map[uint8]uint32{nvme.AdminCreateIOSQ: 0, 0xC0: 0, nvme.AdminFirmwareCommit: 0} {
		if got := c.do(c.sqe(opc, nsid), nil, false); got.status.Code() != nvme.StatusInvalidOpcode {
			t.Errorf("opcode %#x: %v", opc, got.status)
		}
	}
	if got := c.do(c.sqe(nvme.AdminKeepAlive, 1), nil, false); got.status.Code() != nvme.StatusInvalidField {
		t.Errorf("keep alive of a namespace: %v", got.status)
	}
}

func TestLogPages(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	c := admin(t, export(t, tgt, newRAM(512, 8)), options{})
	fw, err := nvme.DecodeFirmware(c.log(nvme.LogRequest{LID: nvme.LogFirmware, Length: 512}).data)
	if err != nil || fw != (nvme.Firmware{AFI: 1, FRS1: "26.09"}) {
		t.Errorf("firmware = %+v, %v", fw, err)
	}
	if got := c.log(nvme.LogRequest{LID: nvme.LogHealth, Length: 512}); got.status != nvme.Success || !allZero(got.data) {
		t.Errorf("health: %v", got.status)
	}
	effects := nvme.Effects(c.log(nvme.LogRequest{LID: nvme.LogEffects, Length: 4096}).data)
	if effects.IO(nvme.IOWrite)&nvme.EffectSupported == 0 || effects.IO(0x0D) != 0 || effects.Admin(nvme.AdminIdentify) == 0 {
		t.Error("effects log is wrong")
	}
	part := c.log(nvme.LogRequest{LID: nvme.LogEffects, Length: 8, Offset: 1024 + 4})
	if part.status != nvme.Success || dw(part.data, 0) != effects.IO(1) || dw(part.data, 1) != effects.IO(2) {
		t.Errorf("part of a log: %v, %x", part.status, part.data)
	}
	for _, x := range []struct {
		r    nvme.LogRequest
		want nvme.Status
	}{
		{nvme.LogRequest{LID: nvme.LogError, Length: 64}, nvme.Success},
		{nvme.LogRequest{LID: nvme.LogSupported, Length: 1024}, nvme.Success},
		{nvme.LogRequest{LID: nvme.LogFirmware, Length: 512, Offset: 512}, nvme.StatusInvalidField},
		{nvme.LogRequest{LID: nvme.LogFirmware, Length: 4, Offset: 2}, nvme.StatusInvalidField},
		{nvme.LogRequest{LID: nvme.LogDiscovery, Length: 1024}, nvme.StatusInvalidLogPage},
		{nvme.LogRequest{LID: nvme.LogANA, Length: 1024}, nvme.StatusInvalidLogPage},
	} {
		if got := c.log(x.r); got.status.Code() != x.want {
			t.Errorf("log %+v: %v, want %v", x.r, got.status, x.want)
		}
	}
	e := c.sqe(0, 0)
	e.SetLogRequest(nvme.LogRequest{LID: nvme.LogFirmware, Length: 512})
	if got := c.fetch(e, 256); got.status.Code() != nvme.StatusInvalidField {
		t.Errorf("log into too little room: %v", got.status)
	}
}
