// SPDX-License-Identifier: Apache-2.0

package kinds_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

const (
	someUUID  = "01234567-89ab-4def-8123-456789abcdef"
	someNGUID = "0123456789ab4def8123456789abcdef"
	someNQN   = "nqn.2024-01.io.example:disk-1"
)

// shelf is a resource.View over records put there by a test.
type shelf struct {
	records  map[resource.Name]*resource.Record
	observed map[driver.Key]driver.Object
}

func (s shelf) Record(n resource.Name) *resource.Record { return s.records[n] }
func (s shelf) Records(collection string) []*resource.Record {
	var all []*resource.Record
	for _, n := range slices.Sorted(maps.Keys(s.records)) {
		if n.Collection() == collection {
			all = append(all, s.records[n])
		}
	}
	return all
}

func (s shelf) Bdev(ref string) (string, error)       { return ref[strings.LastIndexByte(ref, '/')+1:], nil }
func (s shelf) Observed(key driver.Key) driver.Object { return s.observed[key] }
func (s shelf) Brought(string) []*driver.Bdev         { return nil }
func (s shelf) Firmware() string                      { return "26.09" }
func (s shelf) put(name resource.Name, m proto.Message) {
	s.records[name] = &resource.Record{Name: name, Message: m}
}

func newShelf() shelf {
	s := shelf{records: map[resource.Name]*resource.Record{}, observed: map[driver.Key]driver.Object{}}
	s.put("nvmeSubsystems/web-1", &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: someNQN, MaxNamespaces: 2}})
	s.put("virtioScsiTargets/scsi-1", &pb.VirtioScsiTarget{MaxLuns: 2})
	s.put("nvmeRemoteControllers/node-1", &pb.NvmeRemoteController{
		Multipath: pb.NvmeMultipath_NVME_MULTIPATH_FAILOVER, IoQueuesCount: 4, Tcp: &pb.TcpController{Hdgst: true},
	})
	return s
}

func all(t testing.TB) map[string]*resource.Kind {
	t.Helper()
	list, err := kinds.All()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*resource.Kind{}
	for _, k := range list {
		byName[k.Singular()] = k
	}
	return byName
}

// valid holds one good message of every kind that can be created, and the name it has.
func valid() map[string]struct {
	name resource.Name
	msg  proto.Message
} {
	type good = struct {
		name resource.Name
		msg  proto.Message
	}
	return map[string]good{
		"nullVolume":   {"nullVolumes/null-1", &pb.NullVolume{BlockSize: 512, BlocksCount: 8}},
		"mallocVolume": {"mallocVolumes/memo-1", &pb.MallocVolume{BlockSize: 4096, BlocksCount: 8}},
		"aioVolume":    {"aioVolumes/file-1", &pb.AioVolume{BlockSize: 512, Filename: "/srv/file"}},
		"nvmeRemoteController": {"nvmeRemoteControllers/node-1", &pb.NvmeRemoteController{
			Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH,
		}},
		"nvmePath": {"nvmeRemoteControllers/node-1/nvmePaths/path-1", &pb.NvmePath{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP, Traddr: "192.0.2.1",
			Fabrics: &pb.FabricsPath{Trsvcid: 4420, Subnqn: someNQN, Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4},
		}},
		"nvmeSubsystem": {"nvmeSubsystems/web-1", &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: someNQN}}},
		"nvmeController": {"nvmeSubsystems/web-1/nvmeControllers/ctrl-1", &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP,
			Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
				Traddr: "192.0.2.2", Trsvcid: "4420", Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			}},
		}}},
		"encryptedVolume": {"encryptedVolumes/safe-1", &pb.EncryptedVolume{
			VolumeNameRef: "mallocVolumes/memo-1", Key: xtsKey(32), Cipher: pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_128,
		}},
		"qosVolume": {"qosVolumes/slow-1", &pb.QosVolume{
			VolumeNameRef: "mallocVolumes/memo-1", Limits: &pb.Limits{Max: &pb.QosLimit{RwIopsKiops: 3, RdBandwidthMbs: 100}},
		}},
		"virtioBlk": {"virtioBlks/blk-1", &pb.VirtioBlk{
			VolumeNameRef: "mallocVolumes/memo-1", PcieId: function(1, 2, 3), MaxLimit: &pb.QosLimit{WrBandwidthMbs: 1},
		}},
		"virtioScsiTarget":     {"virtioScsiTargets/scsi-1", &pb.VirtioScsiTarget{}},
		"virtioScsiController": {"virtioScsiControllers/scsi-2", &pb.VirtioScsiController{PcieId: function(0, 0, 0)}},
		"virtioScsiLun": {"virtioScsiLuns/lun-1", &pb.VirtioScsiLun{
			TargetNameRef: "virtioScsiTargets/scsi-1", VolumeNameRef: "mallocVolumes/memo-1",
		}},
		"nvmeNamespace": {"nvmeSubsystems/web-1/nvmeNamespaces/disk-1", &pb.NvmeNamespace{
			Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: "mallocVolumes/memo-1"},
		}},
	}
}

// check completes and checks a message as the engine does.
func check(k *resource.Kind, name resource.Name, m proto.Message) error {
	c := resource.Completion{Name: name, Facts: map[string]string{}, View: newShelf(), NewUUID: func() string { return someUUID }}
	if err := k.Complete(m, c); err != nil {
		return err
	}
	return k.Check(m)
}

func TestValidMessagesPass(t *testing.T) {
	byName := all(t)
	for kind, good := range valid() {
		if err := check(byName[kind], good.name, good.msg); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		first := proto.Clone(good.msg)
		again := resource.Completion{Name: good.name, Facts: map[string]string{}, View: newShelf(), Prior: first, NewUUID: func() string { return "another" }}
		open := valid()[kind].msg
		if err := byName[kind].Complete(open, again); err != nil || !proto.Equal(open, first) {
			t.Errorf("%s: the same request completes to %v, and before to %v (%v)", kind, open, first, err)
		}
	}
}

// TestBadValues changes one field of a good message at a time, and wants exactly that field named.
func TestBadValues(t *testing.T) {
	byName := all(t)
	long := "nqn.2024-01.io.example:" + strings.Repeat("x", 223)
	for _, row := range []struct{ kind, field, value string }{
		{"nullVolume", "block_size", "0"},
		{"nullVolume", "block_size", "500"},
		{"nullVolume", "block_size", "-512"},
		{"nullVolume", "block_size", "4294967808"},
		{"nullVolume", "blocks_count", "0"},
		{"nullVolume", "blocks_count", "-1"},
		{"nullVolume", "uuid", "no-uuid"},
		{"nullVolume", "uuid", "00000000-0000-0000-0000-000000000000"},
		{"mallocVolume", "block_size", "1000"},
		{"mallocVolume", "blocks_count", "0"},
		{"mallocVolume", "metadata_size", "7"},
		{"mallocVolume", "uuid", someNGUID},
		{"aioVolume", "block_size", "1536"},
		{"aioVolume", "block_size", "256"},
		{"aioVolume", "blocks_count", "-1"},
		{"aioVolume", "filename", "relative"},
		{"aioVolume", "filename", ""},
		{"aioVolume", "uuid", "x"},
		{"nvmeRemoteController", "multipath", "0"},
		{"nvmeRemoteController", "multipath", "9"},
		{"nvmeRemoteController", "io_queues_count", "-1"},
		{"nvmeRemoteController", "io_queues_count", "65537"},
		{"nvmeRemoteController", "queue_size", "128"},
		{"nvmeRemoteController", "tcp.psk", "secret"},
		{"nvmePath", "trtype", "0"},
		{"nvmePath", "trtype", "1"},
		{"nvmePath", "traddr", ""},
		{"nvmePath", "traddr", "storage.example"},
		{"nvmePath", "traddr", "::1"},
		{"nvmePath", "traddr", "0.0.0.0"},
		{"nvmePath", "fabrics.trsvcid", "0"},
		{"nvmePath", "fabrics.trsvcid", "70000"},
		{"nvmePath", "fabrics.adrfam", "0"},
		{"nvmePath", "fabrics.adrfam", "3"},
		{"nvmePath", "fabrics.subnqn", ""},
		{"nvmePath", "fabrics.subnqn", "x"},
		{"nvmePath", "fabrics.subnqn", "nqn.2014-08.org.nvmexpress.discovery"},
		{"nvmePath", "fabrics.hostnqn", "host"},
		{"nvmePath", "fabrics.source_traddr", "fe80::1"},
		{"nvmePath", "fabrics.source_trsvcid", "5000"},
		{"nvmeSubsystem", "spec.nqn", ""},
		{"nvmeSubsystem", "spec.nqn", long},
		{"nvmeSubsystem", "spec.nqn", "2024-01.io.example:a"},
		{"nvmeSubsystem", "spec.nqn", "nqn.2024.io.example:a"},
		{"nvmeSubsystem", "spec.nqn", "nqn.2024-01.1o.example:a"},
		{"nvmeSubsystem", "spec.nqn", "nqn.2024-01.io.example"},
		{"nvmeSubsystem", "spec.nqn", "nqn.2014-08.org.nvmexpress:uuid:1"},
		{"nvmeSubsystem", "spec.nqn", "nqn.2014-08.org.nvmexpress.discovery"},
		{"nvmeSubsystem", "spec.serial_number", strings.Repeat("s", 21)},
		{"nvmeSubsystem", "spec.serial_number", "sn\n"},
		{"nvmeSubsystem", "spec.model_number", strings.Repeat("m", 41)},
		{"nvmeSubsystem", "spec.model_number", "modèle"},
		{"nvmeSubsystem", "spec.max_namespaces", "-1"},
		{"nvmeSubsystem", "spec.max_namespaces", "4294967296"},
		{"nvmeSubsystem", "spec.hostnqn", "host"},
		{"nvmeSubsystem", "spec.psk", "secret"},
		{"nvmeController", "spec.trtype", "0"},
		{"nvmeController", "spec.fabrics_id.traddr", "0.0.0.0"},
		{"nvmeController", "spec.fabrics_id.traddr", "::1"},
		{"nvmeController", "spec.fabrics_id.trsvcid", "0"},
		{"nvmeController", "spec.fabrics_id.trsvcid", "70000"},
		{"nvmeController", "spec.fabrics_id.trsvcid", "http"},
		{"nvmeController", "spec.fabrics_id.adrfam", "5"},
		{"nvmeController", "spec.sqes", "7"},
		{"nvmeController", "spec.cqes", "5"},
		{"nvmeController", "spec.max_nsq", "1"},
		{"nvmeController", "spec.max_ncq", "1"},
		{"nvmeController", "spec.max_namespaces", "1"},
		{"nvmeController", "spec.nvme_controller_id", "1"},
		{"encryptedVolume", "volume_name_ref", ""},
		{"encryptedVolume", "key", "short"},
		{"encryptedVolume", "key", ""},
		{"encryptedVolume", "key", strings.Repeat("k", 32)},
		{"encryptedVolume", "key", strings.Repeat("k", 64)},
		{"encryptedVolume", "cipher", "0"},
		{"encryptedVolume", "cipher", "1"},
		{"encryptedVolume", "cipher", "5"},
		{"qosVolume", "volume_name_ref", ""},
		{"qosVolume", "limits.max.rd_iops_kiops", "1"},
		{"qosVolume", "limits.max.wr_iops_kiops", "1"},
		{"qosVolume", "limits.max.rw_iops_kiops", "-1"},
		{"qosVolume", "limits.max.rw_bandwidth_mbs", "-1"},
		{"qosVolume", "limits.max.rd_bandwidth_mbs", "9223372036854775807"},
		{"qosVolume", "limits.min.rw_iops_kiops", "1"},
		{"virtioBlk", "volume_name_ref", ""},
		{"virtioBlk", "max_io_qps", "257"},
		{"virtioBlk", "min_limit.rw_iops_kiops", "1"},
		{"virtioBlk", "max_limit.wr_iops_kiops", "1"},
		{"virtioScsiTarget", "max_luns", "9"},
		{"virtioScsiTarget", "max_luns", "-1"},
		{"virtioScsiController", "max_limit.rw_iops_kiops", "1"},
		{"virtioScsiController", "min_limit.rw_iops_kiops", "1"},
		{"virtioScsiLun", "target_name_ref", "virtioBlks/blk-1"},
		{"virtioScsiLun", "target_name_ref", ""},
		{"virtioScsiLun", "volume_name_ref", ""},
		{"nvmeNamespace", "spec.host_nsid", "-1"},
		{"nvmeNamespace", "spec.host_nsid", "3"},
		{"nvmeNamespace", "spec.uuid", "x"},
		{"nvmeNamespace", "spec.nguid", "123"},
		{"nvmeNamespace", "spec.nguid", strings.Repeat("0", 32)},
		{"nvmeNamespace", "spec.volume_name_ref", ""},
	} {
		good := valid()[row.kind]
		set(t, good.msg, row.field, row.value)
		err := check(byName[row.kind], good.name, good.msg)
		if !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%s with %s = %q: want a refusal, got %v", row.kind, row.field, row.value, err)
			continue
		}
		var fields []string
		for _, f := range errdefs.Fields(err) {
			fields = append(fields, f.Field)
		}
		// A family that is none also makes the address one of no family.
		named := slices.Contains(fields, row.field) || strings.HasSuffix(row.field, "adrfam") && len(fields) > 0
		if !named && !strings.HasPrefix(row.field, "limits.min.") && !strings.Contains(row.field, "min_limit.") &&
			row.field != "max_limit.rw_iops_kiops" { // limits that there are not are refused as a whole
			t.Errorf("%s with %s = %q: the error names %v", row.kind, row.field, row.value, fields)
		}
	}
}

func TestPCIeDoesNotTakeFabricsFields(t *testing.T) {
	byName := all(t)
	path := valid()["nvmePath"]
	set(t, path.msg, "trtype", "2")
	set(t, path.msg, "traddr", "0000:01:00.0")
	if err := check(byName["nvmePath"], path.name, path.msg); len(errdefs.Fields(err)) != 1 || errdefs.Fields(err)[0].Field != "fabrics" {
		t.Errorf("a PCIe path with fabrics fields: %v", errdefs.Fields(err))
	}
	for traddr, ok := range map[string]bool{"0000:01:00.0": true, "0000:AB:1f.7": true, "01:00.0": false, "0000:01:20.0": false, "0000:01:00.8": false, "": false} {
		m := &pb.NvmePath{Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_PCIE, Traddr: traddr}
		if err := check(byName["nvmePath"], path.name, m); (err == nil) != ok {
			t.Errorf("a PCIe path to %q: %v", traddr, err)
		}
	}
	local := &pb.NvmePath{Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_PCIE, Traddr: "0000:AB:1f.7"}
	objects, err := byName["nvmePath"].Objects(&resource.Record{Name: path.name}, local, newShelf())
	if err != nil || objects[0].Key() != driver.PathKey("node-1", driver.Address{Transport: driver.TransportPCIe, Traddr: "0000:ab:1f.7"}, "") {
		t.Errorf("a PCIe path is %+v, %v", objects, err)
	}
	ctrl := valid()["nvmeController"]
	set(t, ctrl.msg, "spec.trtype", "2")
	if err := check(byName["nvmeController"], ctrl.name, ctrl.msg); len(errdefs.Fields(err)) != 2 || errdefs.Fields(err)[0].Field != "spec.fabrics_id" {
		t.Errorf("a PCIe controller with a fabrics endpoint: %v", errdefs.Fields(err))
	}
}

// set sets one field from its text.
func set(t *testing.T, m proto.Message, path, value string) {
	t.Helper()
	r := m.ProtoReflect()
	for {
		head, rest, deeper := strings.Cut(path, ".")
		fd := r.Descriptor().Fields().ByName(protoreflect.Name(head))
		if deeper {
			r, path = r.Mutable(fd).Message(), rest
			continue
		}
		r.Set(fd, parse(t, fd, value))
		return
	}
}
