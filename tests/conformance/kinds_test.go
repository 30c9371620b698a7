// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"strconv"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

const (
	someUUID = "6b1c2e5a-0d3f-4f7a-9a51-3f0c9a7d1e42"
	ipv4     = pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4
	overTCP  = pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP
)

// msg makes a message that does not depend on the environment.
func msg(m proto.Message) func(testing.TB, *env) proto.Message {
	return func(testing.TB, *env) proto.Message { return proto.Clone(m) }
}

// What several kinds stand on.
func volume(id string) made {
	return made{"mallocVolume", resource.Name("mallocVolumes/" + id), msg(&pb.MallocVolume{BlockSize: 512, BlocksCount: 8192})}
}

func webSubsystem() made {
	return made{"nvmeSubsystem", "nvmeSubsystems/web-1", msg(&pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: webNQN, MaxNamespaces: 8}})}
}

func remoteController() made {
	return made{"nvmeRemoteController", "nvmeRemoteControllers/node-1", msg(&pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH})}
}

func namespaceOf(ref string) made {
	return made{
		"nvmeNamespace", "nvmeSubsystems/web-1/nvmeNamespaces/disk-9",
		msg(&pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: ref}}),
	}
}

func pathTo(e *env) *pb.NvmePath {
	return &pb.NvmePath{Trtype: overTCP, Traddr: "127.0.0.1", Fabrics: &pb.FabricsPath{
		Trsvcid: int64(e.storagePort), Subnqn: storageNQN, Adrfam: ipv4,
		Hostnqn: "nqn.2024-01.io.example:dpu", // SPDK's own is another after each restart
	}}
}

func function(virtual int32) *pb.PciEndpoint {
	return &pb.PciEndpoint{PortId: wrapperspb.Int32(0), PhysicalFunction: wrapperspb.Int32(1), VirtualFunction: wrapperspb.Int32(virtual)}
}

// limitCases says what becomes of the fields of a limit on the bdev of that name.
func limitCases(cases map[string]fieldCase, prefix, bdev string) {
	limits := func(there map[driver.Key]driver.Object) *driver.Limits {
		if l, ok := there[driver.LimitsKey(bdev)].(*driver.Limits); ok {
			return l
		}
		return &driver.Limits{}
	}
	add := func(field string, value int, effect func(*driver.Limits) bool) {
		cases[prefix+"."+field] = fieldCase{
			value: is(value), bad: []any{-1},
			effect: func(_ *env, there map[driver.Key]driver.Object) bool { return effect(limits(there)) },
		}
	}
	add("rw_iops_kiops", 7, func(l *driver.Limits) bool { return l.IOPS == 7000 })
	add("rw_bandwidth_mbs", 105, func(l *driver.Limits) bool { return l.MiBs == 100 })
	add("rd_bandwidth_mbs", 53, func(l *driver.Limits) bool { return l.ReadMiBs == 51 })
	add("wr_bandwidth_mbs", 1, func(l *driver.Limits) bool { return l.WriteMiBs == 1 })
	cases[prefix+".rd_iops_kiops"] = never(1)
	cases[prefix+".wr_iops_kiops"] = never(1)
}

// noLimits says that limits are refused.
func noLimits(cases map[string]fieldCase, prefix string) {
	for _, field := range []string{"rd_iops_kiops", "wr_iops_kiops", "rw_iops_kiops", "rd_bandwidth_mbs", "wr_bandwidth_mbs", "rw_bandwidth_mbs"} {
		cases[prefix+"."+field] = never(1)
	}
}

// endpointCases says that an endpoint is kept, comes back, and must be whole.
func endpointCases(cases map[string]fieldCase, prefix string) {
	for _, field := range []string{"port_id", "physical_function", "virtual_function"} {
		cases[prefix+"."+field] = fieldCase{value: is(5), bad: []any{-1, 65536}, kept: true}
	}
}

func fields(cases map[string]fieldCase, more ...func(map[string]fieldCase)) map[string]fieldCase {
	for _, f := range more {
		f(cases)
	}
	return cases
}

// table is the suite's view of every kind.
func table() map[string]kindCase {
	shows := func(f func(there map[driver.Key]driver.Object) bool) func(*env, map[driver.Key]driver.Object) bool {
		return func(_ *env, there map[driver.Key]driver.Object) bool { return f(there) }
	}
	return map[string]kindCase{
		"nullVolume": {
			name: "nullVolumes/vol-1", base: []made{webSubsystem()}, valid: msg(&pb.NullVolume{BlockSize: 512, BlocksCount: 8192}),
			user: func(testing.TB, *env) made { return namespaceOf("nullVolumes/vol-1") },
			fields: map[string]fieldCase{
				"block_size":   {value: is(4096), bad: []any{0, 500, -512}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "vol-1").BlockSizeBytes == 4096 })},
				"blocks_count": {value: is(16384), bad: []any{0, -1}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "vol-1").Blocks == 16384 })},
				"uuid":         {value: is(someUUID), bad: []any{"x"}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "vol-1").UUID == someUUID })},
			},
		},
		"mallocVolume": {
			name: "mallocVolumes/vol-1", base: []made{webSubsystem()}, valid: msg(&pb.MallocVolume{BlockSize: 512, BlocksCount: 8192}),
			user: func(testing.TB, *env) made { return namespaceOf("mallocVolumes/vol-1") },
			fields: map[string]fieldCase{
				"block_size":    {value: is(4096), bad: []any{0, 500}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "vol-1").BlockSizeBytes == 4096 })},
				"blocks_count":  {value: is(16384), bad: []any{0}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "vol-1").Blocks == 16384 })},
				"metadata_size": {value: is(8), bad: []any{7, -8}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "vol-1").MetadataBytes == 8 })},
				"uuid":          {value: is(someUUID), bad: []any{"x"}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "vol-1").UUID == someUUID })},
			},
		},
		"aioVolume": {
			name: "aioVolumes/vol-1", base: []made{webSubsystem()},
			valid: func(_ testing.TB, e *env) proto.Message { return &pb.AioVolume{BlockSize: 512, Filename: e.file} },
			user:  func(testing.TB, *env) made { return namespaceOf("aioVolumes/vol-1") },
			fields: map[string]fieldCase{
				"block_size":   {value: is(4096), bad: []any{1000, 256}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "vol-1").BlockSizeBytes == 4096 })},
				"blocks_count": {value: is(fileBlocks), bad: []any{-1, 77}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "vol-1").Blocks == fileBlocks })},
				"uuid":         {value: is(someUUID), bad: []any{"x"}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "vol-1").UUID == someUUID })},
				"filename": {
					value: func(e *env) any { return strings.Replace(e.file, "/file.img", "/./file.img", 1) }, bad: []any{"", "file", "/none/file"},
					effect: shows(func(o map[driver.Key]driver.Object) bool { return strings.Contains(bdev(o, "vol-1").Filename, "/./") }),
				},
			},
		},
		"encryptedVolume": {
			name: "encryptedVolumes/safe-1", base: []made{webSubsystem(), volume("memo-1"), volume("memo-2")},
			valid: msg(&pb.EncryptedVolume{VolumeNameRef: "mallocVolumes/memo-1", Key: []byte(strings.Repeat("a", 16) + strings.Repeat("b", 16)), Cipher: pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_128}),
			user:  func(testing.TB, *env) made { return namespaceOf("encryptedVolumes/safe-1") },
			fields: map[string]fieldCase{
				"volume_name_ref": {value: is("mallocVolumes/memo-2"), bad: []any{"", "mallocVolumes/none", "none"}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "safe-1").Base == "memo-2" })},
				"key": {
					value: is(strings.Repeat("c", 16) + strings.Repeat("d", 16)), bad: []any{"short", strings.Repeat("x", 32), strings.Repeat("xy", 32)},
					effect: shows(func(o map[driver.Key]driver.Object) bool {
						k, ok := o[driver.CryptoKeyKey("opi-bridge:safe-1")].(*driver.CryptoKey)
						return ok && k.Data.RevealString() == strings.Repeat("c", 16) && k.Tweak.RevealString() == strings.Repeat("d", 16)
					}),
				},
				// The other cipher needs a key of another length: that both work is tested with the engine.
				"cipher": {bad: []any{0, 1, 2, 3, 5, 6}, value: is(4), effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "safe-1").Kind == driver.BdevCrypto })},
			},
		},
		"qosVolume": {
			name: "qosVolumes/slow-1", base: []made{webSubsystem(), volume("memo-1"), volume("memo-2")},
			valid: msg(&pb.QosVolume{VolumeNameRef: "mallocVolumes/memo-1", Limits: &pb.Limits{Max: &pb.QosLimit{RwIopsKiops: 3}}}),
			user:  func(testing.TB, *env) made { return namespaceOf("qosVolumes/slow-1") },
			fields: fields(map[string]fieldCase{
				"volume_name_ref": {value: is("mallocVolumes/memo-2"), bad: []any{"", "none"}, effect: shows(func(o map[driver.Key]driver.Object) bool { return o[driver.LimitsKey("memo-2")] != nil })},
			}, func(c map[string]fieldCase) { limitCases(c, "limits.max", "memo-1"); noLimits(c, "limits.min") }),
		},
		"nvmeRemoteController": {
			name: "nvmeRemoteControllers/node-1", valid: msg(&pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_FAILOVER}),
			user: func(_ testing.TB, e *env) made {
				return made{"nvmePath", "nvmeRemoteControllers/node-1/nvmePaths/path-9", msg(pathTo(e))}
			},
			fields: map[string]fieldCase{
				// What these do to the paths is tested in options_test.go.
				"multipath":       {value: is(3), bad: []any{0, 7}, kept: true},
				"io_queues_count": {value: is(1), bad: []any{-1, 65537}, kept: true},
				"queue_size":      never(128),
				"tcp.hdgst":       {value: is(true), kept: true},
				"tcp.ddgst":       {value: is(true), kept: true},
				"tcp.psk":         never("secret", "NVMeTLSkey-1:01:AAAA:"),
			},
		},
		"nvmePath": {
			name: "nvmeRemoteControllers/node-1/nvmePaths/path-1", base: []made{webSubsystem(), remoteController()},
			valid: func(_ testing.TB, e *env) proto.Message { return pathTo(e) },
			user: func(testing.TB, *env) made {
				return namespaceOf("nvmeRemoteControllers/node-1/nvmeRemoteNamespaces/node-1n1")
			},
			fields: map[string]fieldCase{
				// 2 is PCIe, which the address and the fabrics fields do not fit.
				"trtype": {value: is(4), bad: []any{0, 1, 2, 5}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "node-1n1").Kind == driver.BdevNvme })},
				"traddr": {value: is("127.0.0.1"), bad: []any{"", "storage.example", "::1", "0.0.0.0"}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "node-1n2").Blocks == 8192 })},
				"fabrics.trsvcid": {
					value: func(e *env) any { return e.otherPort }, bad: []any{0, 70000},
					effect: func(e *env, o map[driver.Key]driver.Object) bool {
						return o[driver.PathKey("node-1", tcp(e.otherPort), storageNQN)] != nil && o[driver.PathKey("node-1", tcp(e.storagePort), storageNQN)] == nil
					},
				},
				"fabrics.subnqn": {value: is(storageNQN), bad: []any{"", "x", "nqn.2014-08.org.nvmexpress.discovery"}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "node-1n1").Nvme != nil })},
				"fabrics.adrfam": {value: is(1), bad: []any{0, 2, 3, 9}, effect: shows(func(o map[driver.Key]driver.Object) bool { return bdev(o, "node-1n1").Nvme != nil })},
				"fabrics.source_traddr": {value: is("127.0.0.1"), bad: []any{"x", "::1"}, effect: func(e *env, o map[driver.Key]driver.Object) bool {
					p, ok := o[driver.PathKey("node-1", tcp(e.storagePort), storageNQN)].(*driver.Path)
					return ok && p.SourceTraddr == "127.0.0.1"
				}},
				"fabrics.source_trsvcid": never(5000),
				"fabrics.hostnqn": {value: is("nqn.2024-01.io.example:host"), bad: []any{"host"}, effect: func(e *env, o map[driver.Key]driver.Object) bool {
					p, ok := o[driver.PathKey("node-1", tcp(e.storagePort), storageNQN)].(*driver.Path)
					return ok && p.HostNQN == "nqn.2024-01.io.example:host"
				}},
			},
		},
		"nvmeSubsystem": {
			name: "nvmeSubsystems/web-1", base: []made{volume("memo-1")}, valid: msg(&pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: webNQN}}),
			user: func(testing.TB, *env) made { return namespaceOf("mallocVolumes/memo-1") },
			fields: map[string]fieldCase{
				"spec.nqn":            {value: is(webNQN + "-2"), bad: []any{"", "x", "nqn." + strings.Repeat("x", 224)}, effect: shows(func(o map[driver.Key]driver.Object) bool { return o[driver.SubsystemKey(webNQN+"-2")] != nil })},
				"spec.serial_number":  {value: is("SERIAL"), bad: []any{strings.Repeat("s", 21), "\n"}, effect: shows(func(o map[driver.Key]driver.Object) bool { return subsystem(o, webNQN).SerialNumber == "SERIAL" })},
				"spec.model_number":   {value: is("Model"), bad: []any{strings.Repeat("m", 41)}, effect: shows(func(o map[driver.Key]driver.Object) bool { return subsystem(o, webNQN).ModelNumber == "Model" })},
				"spec.max_namespaces": {value: is(3), bad: []any{-1}, effect: shows(func(o map[driver.Key]driver.Object) bool { return subsystem(o, webNQN).MaxNamespaces == 3 })},
				"spec.hostnqn": {value: is("nqn.2024-01.io.example:host"), bad: []any{"host"}, effect: shows(func(o map[driver.Key]driver.Object) bool {
					return !subsystem(o, webNQN).AllowAnyHost && o[driver.HostKey(webNQN, "nqn.2024-01.io.example:host")] != nil
				})},
				"spec.psk": never("secret"),
			},
		},
		"nvmeController": {
			name: "nvmeSubsystems/web-1/nvmeControllers/ctrl-1", base: []made{webSubsystem()},
			valid: func(_ testing.TB, e *env) proto.Message {
				return &pb.NvmeController{Spec: &pb.NvmeControllerSpec{Trtype: overTCP, Endpoint: &pb.NvmeControllerSpec_FabricsId{
					FabricsId: &pb.FabricsEndpoint{Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(e.webPort), Adrfam: ipv4},
				}}}
			},
			fields: fields(map[string]fieldCase{
				"spec.nvme_controller_id": never(1),
				"spec.trtype": {value: is(4), bad: []any{0, 1, 2, 5}, effect: func(e *env, o map[driver.Key]driver.Object) bool {
					return o[driver.ListenerKey(webNQN, tcp(e.webPort))] != nil
				}},
				"spec.fabrics_id.traddr": {value: is("127.0.0.2"), bad: []any{"", "x", "::1", "0.0.0.0", "192.0.2.1"}, effect: func(e *env, o map[driver.Key]driver.Object) bool {
					a := tcp(e.webPort)
					a.Traddr = "127.0.0.2"
					return o[driver.ListenerKey(webNQN, a)] != nil
				}},
				"spec.fabrics_id.trsvcid": {value: func(e *env) any { return strconv.Itoa(e.freePort) }, bad: []any{"", "0", "70000", "x"}, effect: func(e *env, o map[driver.Key]driver.Object) bool {
					return o[driver.ListenerKey(webNQN, tcp(e.freePort))] != nil && o[driver.ListenerKey(webNQN, tcp(e.webPort))] == nil
				}},
				"spec.fabrics_id.adrfam": {value: is(1), bad: []any{0, 2, 3}, effect: func(e *env, o map[driver.Key]driver.Object) bool {
					return o[driver.ListenerKey(webNQN, tcp(e.webPort))] != nil
				}},
				// Setting one makes the endpoint a PCIe one, which a fabrics controller must not have.
				"spec.pcie_id.port_id":           never(1),
				"spec.pcie_id.physical_function": never(1),
				"spec.pcie_id.virtual_function":  never(1),
				"spec.max_nsq":                   never(1),
				"spec.max_ncq":                   never(1),
				"spec.sqes":                      {value: is(6), bad: []any{5, 7}, kept: true},
				"spec.cqes":                      {value: is(4), bad: []any{3, 5}, kept: true},
				"spec.max_namespaces":            never(1),
			}, func(c map[string]fieldCase) { noLimits(c, "spec.min_limit"); noLimits(c, "spec.max_limit") }),
		},
		"nvmeNamespace": {
			name: "nvmeSubsystems/web-1/nvmeNamespaces/disk-1", base: []made{webSubsystem(), volume("memo-1"), volume("memo-2")},
			valid: msg(&pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: "mallocVolumes/memo-1"}}),
			fields: map[string]fieldCase{
				"spec.host_nsid": {value: is(5), bad: []any{-1, 9}, effect: shows(func(o map[driver.Key]driver.Object) bool { return namespace(o, webNQN, 5).Bdev == "memo-1" })},
				"spec.nguid": {value: is("0123456789abcdef0123456789abcdef"), bad: []any{"x", strings.Repeat("0", 32)}, effect: shows(func(o map[driver.Key]driver.Object) bool {
					return strings.EqualFold(namespace(o, webNQN, 1).NGUID, "0123456789abcdef0123456789abcdef")
				})},
				"spec.eui64": {value: is(255), effect: shows(func(o map[driver.Key]driver.Object) bool {
					return strings.EqualFold(namespace(o, webNQN, 1).EUI64, "00000000000000ff")
				})},
				"spec.uuid":            {value: is(someUUID), bad: []any{"x"}, effect: shows(func(o map[driver.Key]driver.Object) bool { return namespace(o, webNQN, 1).UUID == someUUID })},
				"spec.volume_name_ref": {value: is("mallocVolumes/memo-2"), bad: []any{"", "none", "mallocVolumes/none", "nvmeSubsystems/web-1"}, effect: shows(func(o map[driver.Key]driver.Object) bool { return namespace(o, webNQN, 1).Bdev == "memo-2" })},
			},
		},
		"virtioBlk": {
			name: "virtioBlks/blk-1", base: []made{volume("memo-1"), volume("memo-2")},
			valid: msg(&pb.VirtioBlk{PcieId: function(1), VolumeNameRef: "mallocVolumes/memo-1"}),
			fields: fields(map[string]fieldCase{
				"volume_name_ref": {value: is("mallocVolumes/memo-2"), bad: []any{"", "none"}, effect: shows(func(o map[driver.Key]driver.Object) bool {
					b, ok := o[driver.VirtioBlkKey("blk-1")].(*driver.VirtioBlk)
					return ok && b.Bdev == "memo-2"
				})},
				"max_io_qps": never(1, 257, -1), // no QEMU here that could be told
			}, func(c map[string]fieldCase) {
				endpointCases(c, "pcie_id")
				noLimits(c, "min_limit")
				limitCases(c, "max_limit", "memo-1")
			}),
		},
		"virtioScsiTarget": {
			name: "virtioScsiTargets/scsi-1", base: []made{volume("memo-1")}, valid: msg(&pb.VirtioScsiTarget{}),
			user: func(testing.TB, *env) made { return lun("virtioScsiTargets/scsi-1") },
			fields: map[string]fieldCase{
				"max_luns": {value: is(2), bad: []any{-1, 9}, kept: true},
			},
		},
		"virtioScsiController": {
			name: "virtioScsiControllers/scsi-2", base: []made{volume("memo-1")}, valid: msg(&pb.VirtioScsiController{PcieId: function(2)}),
			user: func(testing.TB, *env) made { return lun("virtioScsiControllers/scsi-2") },
			fields: fields(map[string]fieldCase{}, func(c map[string]fieldCase) {
				endpointCases(c, "pcie_id")
				noLimits(c, "min_limit")
				noLimits(c, "max_limit")
			}),
		},
		"virtioScsiLun": {
			name: "virtioScsiLuns/lun-1",
			base: []made{
				volume("memo-1"), volume("memo-2"),
				{"virtioScsiTarget", "virtioScsiTargets/scsi-1", msg(&pb.VirtioScsiTarget{})},
				{"virtioScsiController", "virtioScsiControllers/scsi-2", msg(&pb.VirtioScsiController{PcieId: function(2)})},
			},
			valid: msg(&pb.VirtioScsiLun{TargetNameRef: "virtioScsiTargets/scsi-1", VolumeNameRef: "mallocVolumes/memo-1"}),
			fields: map[string]fieldCase{
				"target_name_ref": {value: is("virtioScsiControllers/scsi-2"), bad: []any{"", "virtioScsiTargets/none", "mallocVolumes/memo-1"}, effect: shows(func(o map[driver.Key]driver.Object) bool { return o[driver.VirtioScsiTargetKey("scsi-2", 0)] != nil })},
				"volume_name_ref": {value: is("mallocVolumes/memo-2"), bad: []any{"", "none"}, effect: shows(func(o map[driver.Key]driver.Object) bool {
					t, ok := o[driver.VirtioScsiTargetKey("scsi-1", 0)].(*driver.VirtioScsiTarget)
					return ok && t.Bdev == "memo-2"
				})},
			},
		},
	}
}

func lun(target string) made {
	return made{"virtioScsiLun", "virtioScsiLuns/lun-9", msg(&pb.VirtioScsiLun{TargetNameRef: target, VolumeNameRef: "mallocVolumes/memo-1"})}
}
