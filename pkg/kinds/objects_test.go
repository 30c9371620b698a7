// SPDX-License-Identifier: Apache-2.0

package kinds_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

func TestObjects(t *testing.T) {
	byName, v := all(t), newShelf()
	want := map[string][]driver.Object{
		"nullVolume":           {&driver.Bdev{Name: "null-1", Kind: driver.BdevNull, BlockSizeBytes: 512, Blocks: 8, UUID: someUUID}},
		"mallocVolume":         {&driver.Bdev{Name: "memo-1", Kind: driver.BdevMalloc, BlockSizeBytes: 4096, Blocks: 8, UUID: someUUID}},
		"aioVolume":            {&driver.Bdev{Name: "file-1", Kind: driver.BdevAio, BlockSizeBytes: 512, UUID: someUUID, Filename: "/srv/file"}},
		"nvmeRemoteController": nil,
		"nvmePath": {&driver.Path{
			Controller: "node-1", SubsystemNQN: someNQN, Multipath: driver.MultipathFailover, IOQueues: 4, HeaderDigest: true,
			Address: driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "192.0.2.1", Trsvcid: "4420"},
		}},
		"nvmeSubsystem": {&driver.Subsystem{
			NQN: someNQN, SerialNumber: "0123456789AB4DEF8123", ModelNumber: "opi-bridge", MaxNamespaces: 32, AllowAnyHost: true,
			MinCntlid: 1, MaxCntlid: 65519,
		}},
		"nvmeController": {&driver.Listener{
			Subsystem: someNQN,
			Address:   driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "192.0.2.2", Trsvcid: "4420"},
		}},
		"encryptedVolume": {
			&driver.CryptoKey{
				Name: "opi-bridge:safe-1", Cipher: driver.CipherAESXTS, Data: secret.New(xtsKey(32)[:16]), Tweak: secret.New(xtsKey(32)[16:]),
			},
			&driver.Bdev{Name: "safe-1", Kind: driver.BdevCrypto, Base: "memo-1", CryptoKey: "opi-bridge:safe-1"},
		},
		// 100 MB/s are 95.4 MiB/s, and 1 MB/s is less than SPDK's smallest limit.
		"qosVolume": {&driver.Limits{Bdev: "memo-1", IOPS: 3000, ReadMiBs: 95}},
		"virtioBlk": {
			&driver.VirtioBlk{Name: "blk-1", Bdev: "memo-1", PCI: driver.PCIAddress{Port: 1, Physical: 2, Virtual: 3}},
			&driver.Limits{Bdev: "memo-1", WriteMiBs: 1},
		},
		"virtioScsiTarget":     {&driver.VirtioScsi{Name: "scsi-1"}, &driver.VirtioScsiSocket{Controller: "scsi-1"}},
		"virtioScsiController": {&driver.VirtioScsi{Name: "scsi-2"}, &driver.VirtioScsiSocket{Controller: "scsi-2"}},
		"virtioScsiLun":        {&driver.VirtioScsiTarget{Controller: "scsi-1", Slot: 0, Bdev: "memo-1"}},
		"nvmeNamespace":        {&driver.Namespace{Subsystem: someNQN, NSID: 1, Bdev: "memo-1", UUID: someUUID, NGUID: someNGUID}},
	}
	for kind, good := range valid() {
		if err := check(byName[kind], good.name, good.msg); err != nil {
			t.Fatal(err)
		}
		got, err := byName[kind].Objects(&resource.Record{Name: good.name, Facts: map[string]string{"slot": "0"}}, good.msg, v)
		if err != nil || len(got) != len(want[kind]) {
			t.Errorf("%s: got %+v, %v", kind, got, err)
			continue
		}
		for i := range got {
			if !equal(got[i], want[kind][i]) {
				t.Errorf("%s: got %+v, want %+v", kind, got[i], want[kind][i])
			}
		}
	}
}

// equal compares objects. Those with secrets are compared in their own way: a secret cannot be looked
// into.
func equal(a, b driver.Object) bool {
	if key, ok := a.(*driver.CryptoKey); ok {
		return key.Key() == b.Key() && len(key.Differences(b)) == 0
	}
	return reflect.DeepEqual(a, b)
}

func TestLUNsTakeTheLowestFreeSlot(t *testing.T) {
	k, v := all(t)["virtioScsiLun"], newShelf()
	next := func() (string, error) {
		facts := map[string]string{}
		m := &pb.VirtioScsiLun{TargetNameRef: "virtioScsiTargets/scsi-1", VolumeNameRef: "vol"}
		err := k.Complete(m, resource.Completion{Name: "virtioScsiLuns/lun-9", Facts: facts, View: v})
		return facts["slot"], err
	}
	put := func(id, slot string) {
		v.records[resource.Name("virtioScsiLuns/"+id)] = &resource.Record{
			Name: resource.Name("virtioScsiLuns/" + id), Facts: map[string]string{"slot": slot},
			Message: &pb.VirtioScsiLun{TargetNameRef: "virtioScsiTargets/scsi-1"},
		}
	}
	put("lun-2", "1")
	if slot, err := next(); slot != "0" || err != nil {
		t.Errorf("with 1 taken: got %q, %v", slot, err)
	}
	put("lun-1", "0")
	if slot, err := next(); !errors.Is(err, errdefs.ResourceExhausted) {
		t.Errorf("with both taken: got %q, %v", slot, err)
	}
}

func TestPSK(t *testing.T) {
	byName := all(t)
	for psk, ok := range map[string]bool{
		"":          true, // no key
		zeroPSK(32): true, zeroPSK(48): true, zeroPSK(16): false,
		strings.Replace(zeroPSK(32), "01", "02", 1): false, strings.Replace(zeroPSK(32), "01", "00", 1): false,
		strings.TrimSuffix(zeroPSK(32), ":"): false,
	} {
		m := &pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH, Tcp: &pb.TcpController{Psk: []byte(psk)}}
		err := check(byName["nvmeRemoteController"], "nvmeRemoteControllers/node-1", m)
		if (err == nil) != ok {
			t.Errorf("%s: %v", psk, err)
		}
		if err != nil && strings.Contains(err.Error(), strings.Split(psk, ":")[2]) {
			t.Errorf("the error tells the key: %v", err)
		}
	}
}

func TestSubsystemOfOneHost(t *testing.T) {
	byName := all(t)
	m := &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: someNQN, Hostnqn: "nqn.2024-01.io.example:host"}}
	if err := check(byName["nvmeSubsystem"], "nvmeSubsystems/web-1", m); err != nil {
		t.Fatal(err)
	}
	objects, err := byName["nvmeSubsystem"].Objects(&resource.Record{Name: "nvmeSubsystems/web-1"}, m, newShelf())
	if err != nil || len(objects) != 2 {
		t.Fatalf("got %v, %v", objects, err)
	}
	if s, ok := objects[0].(*driver.Subsystem); !ok || s.AllowAnyHost {
		t.Errorf("a subsystem of one host lets anybody in: %+v", objects[0])
	}
	if h, ok := objects[1].(*driver.Host); !ok || h.NQN != m.GetSpec().GetHostnqn() || h.Subsystem != someNQN {
		t.Errorf("got %+v", objects[1])
	}
}

func TestNamespaceIdentity(t *testing.T) {
	byName := all(t)
	for _, row := range []struct{ what, uuid, nguid, wantUUID, wantNGUID string }{
		{"nothing given", "", "", someUUID, someNGUID},
		{"uuid given", "AAAAAAAA-0000-4000-8000-000000000001", "", "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa000040008000000000000001"},
		{"nguid given", "", "AAAAAAAA000040008000000000000001", "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa000040008000000000000001"},
		{"nguid with dashes", "", "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa000040008000000000000001"},
		{"both given", someUUID, "aaaaaaaa000040008000000000000001", someUUID, "aaaaaaaa000040008000000000000001"},
	} {
		m := &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{Uuid: row.uuid, Nguid: row.nguid, VolumeNameRef: "vol"}}
		if err := check(byName["nvmeNamespace"], "nvmeSubsystems/web-1/nvmeNamespaces/disk-1", m); err != nil {
			t.Errorf("%s: %v", row.what, err)
		}
		if m.GetSpec().GetUuid() != row.wantUUID || m.GetSpec().GetNguid() != row.wantNGUID {
			t.Errorf("%s: got uuid %s, nguid %s", row.what, m.GetSpec().GetUuid(), m.GetSpec().GetNguid())
		}
	}
}

func TestLowestFreeNSID(t *testing.T) {
	k, v := all(t)["nvmeNamespace"], newShelf()
	next := func() (int32, error) {
		m := &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: "vol"}}
		err := k.Complete(m, resource.Completion{
			Name: "nvmeSubsystems/web-1/nvmeNamespaces/disk-9", View: v, NewUUID: func() string { return someUUID },
		})
		return m.GetSpec().GetHostNsid(), err
	}
	put := func(id string, nsid int32) {
		v.put(resource.Name("nvmeSubsystems/web-1/nvmeNamespaces/"+id), &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{HostNsid: nsid}})
	}
	put("disk-2", 2)
	if n, err := next(); n != 1 || err != nil {
		t.Errorf("with 2 taken: got %d, %v", n, err)
	}
	put("disk-1", 1)
	if n, err := next(); !errors.Is(err, errdefs.ResourceExhausted) {
		t.Errorf("with all taken: got %d, %v", n, err)
	}
}

func TestEUI64KeepsItsBits(t *testing.T) {
	k, v := all(t)["nvmeNamespace"], newShelf()
	for n, want := range map[int64]string{0: "", 1: "0000000000000001", -2: "fffffffffffffffe"} {
		m := &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{HostNsid: 1, Eui64: n, VolumeNameRef: "vol"}}
		objects, err := k.Objects(&resource.Record{Name: "nvmeSubsystems/web-1/nvmeNamespaces/disk-1"}, m, v)
		if err != nil {
			t.Fatal(err)
		}
		if ns, ok := objects[0].(*driver.Namespace); !ok || ns.EUI64 != want {
			t.Errorf("eui64 %d: got %+v", n, objects[0])
		}
	}
}

func TestRemoteNamespaceIsABdevWithoutAMessage(t *testing.T) {
	// The bridge has no record of it, so a reference to it is all that there is.
	if b := all(t)["nvmeRemoteNamespace"].Bdev("nvmeRemoteControllers/storage-1/nvmeRemoteNamespaces/storage-1n1", nil); b != "storage-1n1" {
		t.Errorf("got %q", b)
	}
}
