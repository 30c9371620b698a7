// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"encoding/base64"
	"strconv"
	"strings"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// built is a resource that a test makes.
type built struct {
	kind    string
	name    resource.Name
	message func(r *rig) proto.Message
}

// subject is a kind's example: what it stands on, and the changes that it takes.
type subject struct {
	built
	base    []built
	changes []changed
	// resets says that the example, which is in base, is only reset.
	resets bool
	// like tells the example from others of its kind.
	like string
}

// label names the example.
func (s subject) label() string { return strings.TrimSpace(s.kind + " " + s.like) }

// changed is an update of one field.
type changed struct {
	field string
	set   func(r *rig, m proto.Message) // in a copy of the example
}

// fixed is a message that does not depend on the rig.
func fixed(m proto.Message) func(*rig) proto.Message {
	return func(*rig) proto.Message { return proto.Clone(m) }
}

// setting makes a change from a function over the message's own type.
func setting[M proto.Message](field string, set func(r *rig, m M)) changed {
	return changed{field, func(r *rig, m proto.Message) {
		if typed, ok := m.(M); ok {
			set(r, typed)
		}
	}}
}

const (
	webNQN = "nqn.2024-01.io.example:web"
	ipv4   = pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4
	tcp    = pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP
)

func memory(id string) built {
	return built{"mallocVolume", resource.Name("mallocVolumes/" + id), fixed(&pb.MallocVolume{BlockSize: 512, BlocksCount: 2048})}
}

func web() built {
	return built{"nvmeSubsystem", "nvmeSubsystems/web-1", fixed(&pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{
		Nqn: webNQN, Hostnqn: "nqn.2024-01.io.example:host-1",
	}})}
}

func disk(ref string) built {
	return built{"nvmeNamespace", "nvmeSubsystems/web-1/nvmeNamespaces/disk-1", fixed(&pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: ref}})}
}

func node() built {
	return built{"nvmeRemoteController", "nvmeRemoteControllers/node-1", fixed(&pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH})}
}

// keyed is a remote controller with a pre-shared key, which lies in a file as long as it is there.
func keyed() built {
	// The key is 32 zeros, with their checksum.
	psk := "NVMeTLSkey-1:01:" + base64.StdEncoding.EncodeToString(append(make([]byte, 32), 0xad, 0x55, 0x0a, 0x19)) + ":"
	return built{"nvmeRemoteController", "nvmeRemoteControllers/node-2", fixed(&pb.NvmeRemoteController{
		Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH, Tcp: &pb.TcpController{Psk: []byte(psk)},
	})}
}

func path() built {
	return built{"nvmePath", "nvmeRemoteControllers/node-1/nvmePaths/path-1", func(r *rig) proto.Message {
		return &pb.NvmePath{Trtype: tcp, Traddr: "127.0.0.1", Fabrics: &pb.FabricsPath{
			Trsvcid: int64(r.storage.port), Subnqn: storageNQN, Adrfam: ipv4, Hostnqn: "nqn.2024-01.io.example:dpu",
		}}
	}}
}

func listener() built {
	return built{"nvmeController", "nvmeSubsystems/web-1/nvmeControllers/ctrl-1", func(r *rig) proto.Message {
		return &pb.NvmeController{Spec: &pb.NvmeControllerSpec{Trtype: tcp, Endpoint: &pb.NvmeControllerSpec_FabricsId{
			FabricsId: &pb.FabricsEndpoint{Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(r.ports[0]), Adrfam: ipv4},
		}}}
	}}
}

// subjects are the kinds that the bridge serves on this data plane.
func subjects() []subject {
	return append(virtio(), []subject{
		{
			built: built{"nullVolume", "nullVolumes/vol-1", fixed(&pb.NullVolume{BlockSize: 512, BlocksCount: 2048})},
			changes: []changed{
				setting("blocks_count", func(_ *rig, m *pb.NullVolume) { m.BlocksCount = 4096 }),
			},
		},
		{built: memory("vol-1")},
		{
			built: built{"aioVolume", "aioVolumes/vol-1", func(r *rig) proto.Message {
				// The size is given, for one that is left open is known as long as the data plane is there.
				return &pb.AioVolume{BlockSize: 512, BlocksCount: 4096, Filename: r.file}
			}},
		},
		{built: node()},
		{built: node(), base: []built{node(), path()}, resets: true, like: "to reset"},
		{built: keyed(), like: "with a key"},
		{
			built: path(), base: []built{node()},
			changes: []changed{
				setting("fabrics.trsvcid", func(r *rig, m *pb.NvmePath) { m.Fabrics.Trsvcid = int64(r.storage.otherPort) }),
				setting("fabrics.source_traddr", func(_ *rig, m *pb.NvmePath) { m.Fabrics.SourceTraddr = "127.0.0.1" }),
			},
		},
		{
			built: web(),
			changes: []changed{
				setting("spec.hostnqn", func(_ *rig, m *pb.NvmeSubsystem) { m.Spec.Hostnqn = "nqn.2024-01.io.example:host-2" }),
			},
		},
		{
			built: listener(), base: []built{web()},
			changes: []changed{
				setting("spec.fabrics_id.traddr", func(_ *rig, m *pb.NvmeController) { m.GetSpec().GetFabricsId().Traddr = "127.0.0.2" }),
				setting("spec.fabrics_id.trsvcid", func(r *rig, m *pb.NvmeController) {
					m.GetSpec().GetFabricsId().Trsvcid = strconv.Itoa(r.ports[1])
				}),
			},
		},
		{
			built: disk("mallocVolumes/memo-1"), base: []built{web(), memory("memo-1"), memory("memo-2")},
			changes: []changed{
				setting("spec.volume_name_ref", func(_ *rig, m *pb.NvmeNamespace) { m.Spec.VolumeNameRef = "mallocVolumes/memo-2" }),
			},
		},
	}...)
}

func function(virtual int32) *pb.PciEndpoint {
	return &pb.PciEndpoint{PortId: wrapperspb.Int32(0), PhysicalFunction: wrapperspb.Int32(1), VirtualFunction: wrapperspb.Int32(virtual)}
}

func scsi() built {
	return built{"virtioScsiTarget", "virtioScsiTargets/scsi-1", fixed(&pb.VirtioScsiTarget{})}
}

// virtio are the kinds behind vhost-user sockets, and those that add something to a volume.
func virtio() []subject {
	return []subject{
		{
			built: built{"encryptedVolume", "encryptedVolumes/safe-1", fixed(&pb.EncryptedVolume{
				VolumeNameRef: "mallocVolumes/memo-1", Cipher: pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_128,
				Key: []byte(strings.Repeat("a", 16) + strings.Repeat("b", 16)),
			})},
			base: []built{memory("memo-1")},
		},
		{built: built{"virtioScsiController", "virtioScsiControllers/scsi-2", fixed(&pb.VirtioScsiController{PcieId: function(2)})}},
		{
			built: built{"qosVolume", "qosVolumes/slow-1", fixed(&pb.QosVolume{
				VolumeNameRef: "mallocVolumes/memo-1", Limits: &pb.Limits{Max: &pb.QosLimit{RwIopsKiops: 3}},
			})},
			base: []built{memory("memo-1")},
			changes: []changed{
				setting("limits.max.rw_iops_kiops", func(_ *rig, m *pb.QosVolume) { m.Limits.Max.RwIopsKiops = 5 }),
			},
		},
		{
			built: built{"virtioBlk", "virtioBlks/blk-1", fixed(&pb.VirtioBlk{PcieId: function(1), VolumeNameRef: "mallocVolumes/memo-1"})},
			base:  []built{memory("memo-1"), memory("memo-2")},
			changes: []changed{
				setting("volume_name_ref", func(_ *rig, m *pb.VirtioBlk) { m.VolumeNameRef = "mallocVolumes/memo-2" }),
				setting("max_limit.rw_iops_kiops", func(_ *rig, m *pb.VirtioBlk) { m.MaxLimit = &pb.QosLimit{RwIopsKiops: 7} }),
			},
		},
		{built: scsi()},
		{
			built: built{"virtioScsiLun", "virtioScsiLuns/lun-1", fixed(&pb.VirtioScsiLun{
				TargetNameRef: "virtioScsiTargets/scsi-1", VolumeNameRef: "mallocVolumes/memo-1",
			})},
			base: []built{memory("memo-1"), memory("memo-2"), scsi()},
			changes: []changed{
				setting("volume_name_ref", func(_ *rig, m *pb.VirtioScsiLun) { m.VolumeNameRef = "mallocVolumes/memo-2" }),
			},
		},
	}
}

// everything is a store with something of each kind, in an order in which it can be made.
func everything() []built {
	return append([]built{
		{"nullVolume", "nullVolumes/null-1", fixed(&pb.NullVolume{BlockSize: 512, BlocksCount: 2048})},
		memory("memo-1"),
		{"aioVolume", "aioVolumes/file-1", func(r *rig) proto.Message { return &pb.AioVolume{BlockSize: 512, Filename: r.file} }},
		node(), path(), keyed(), web(), listener(), disk("mallocVolumes/memo-1"),
		{"nvmeNamespace", "nvmeSubsystems/web-1/nvmeNamespaces/disk-2", fixed(&pb.NvmeNamespace{
			Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: "nvmeRemoteControllers/node-1/nvmeRemoteNamespaces/node-1n1"},
		})},
	}, virtioAndMore()...)
}

// virtioAndMore are resources of the kinds behind vhost-user sockets, and of those that add something
// to a volume, each on a volume of its own.
func virtioAndMore() []built {
	all := []built{memory("memo-2"), memory("memo-3"), memory("memo-4"), memory("memo-5")}
	own := map[string]string{"encryptedVolume": "2", "qosVolume": "3", "virtioBlk": "4", "virtioScsiLun": "5"}
	for _, s := range virtio() {
		b := s.built
		if volume := own[b.kind]; volume != "" {
			b.message = func(r *rig) proto.Message {
				m := s.message(r)
				fd := m.ProtoReflect().Descriptor().Fields().ByName("volume_name_ref")
				m.ProtoReflect().Set(fd, protoreflect.ValueOfString("mallocVolumes/memo-"+volume))
				return m
			}
		}
		all = append(all, b)
	}
	return all
}
