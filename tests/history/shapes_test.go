// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"strconv"
	"strings"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// shape is what the documentation says of a kind of resource, and examples to ask for.
type shape struct {
	resource, collection string
	above                string // the collection of the parents, "" for none
	parents              []string
	ids                  []string
	// bodies are messages to ask for, good ones and bad ones; r has ports and files. Histories that are
	// kept name them by their numbers: new ones go behind the others.
	bodies []func(r *rig) proto.Message
	// ref is the field that names a volume, "" for none; other fields that name something are refs.
	ref  string
	refs []string
	// mutable fields can be changed; open ones are filled in by the bridge when they are not set;
	// hidden ones never come back.
	mutable, open, hidden []string
	// valid says whether the fields, each by itself and together, are as documented.
	valid func(f flat) bool
	// grows says whether an update is one that the data plane can follow; nil for always.
	grows func(before, after flat) bool
	// takes lists what only one can have: words of which the model knows no more.
	takes func(parent string, f flat, base func(ref string) string) []string
}

func of(messages ...proto.Message) []func(*rig) proto.Message {
	all := make([]func(*rig) proto.Message, 0, len(messages))
	for _, m := range messages {
		all = append(all, func(*rig) proto.Message { return proto.Clone(m) })
	}
	return all
}

// parents and volumes that requests name; some never exist, and some are no volumes.
var ( //nolint:gochecknoglobals // constants
	subsystems = []string{"nvmeSubsystems/sub-1", "nvmeSubsystems/sub-2"}
	volumes    = []string{
		"mallocVolumes/mem-1", "mallocVolumes/mem-2", "mallocVolumes/mem-3", "nullVolumes/null-1", "aioVolumes/file-1",
		"encryptedVolumes/safe-1", "qosVolumes/slow-1", "qosVolumes/slow-2",
	}
	noVolumes = map[string]string{"mallocVolumes/none": "NotFound", "nobody": "NotFound", "nvmeSubsystems/sub-1": "InvalidArgument", "": "InvalidArgument"}
)

func number(f flat, path string) int64 {
	n, err := strconv.ParseInt(f[path], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func function(n int32) *pb.PciEndpoint {
	return &pb.PciEndpoint{PortId: wrapperspb.Int32(0), PhysicalFunction: wrapperspb.Int32(1), VirtualFunction: wrapperspb.Int32(n)}
}

func always1(flat) bool { return true }

func volume(ref string) func(string, flat, func(string) string) []string {
	return func(_ string, f flat, base func(string) string) []string { return []string{"volume " + base(f[ref])} }
}

// shapes are all kinds that can be made on this data plane. Each stands behind those that it refers to.
func shapes() []*shape {
	all := []*shape{
		{
			resource: "NullVolume", collection: "nullVolumes", ids: []string{"null-1", "null-2"},
			bodies: of(&pb.NullVolume{BlockSize: 512, BlocksCount: 2048}, &pb.NullVolume{BlockSize: 512, BlocksCount: 4096},
				&pb.NullVolume{BlockSize: 512, BlocksCount: 8192}, &pb.NullVolume{BlockSize: 513, BlocksCount: 2048}, &pb.NullVolume{BlockSize: 512, BlocksCount: -1}),
			mutable: []string{"blocks_count"}, open: []string{"uuid"},
			valid: func(f flat) bool {
				return number(f, "block_size") > 0 && number(f, "block_size")%512 == 0 && number(f, "blocks_count") > 0
			},
			grows: func(before, after flat) bool { return number(after, "blocks_count") >= number(before, "blocks_count") },
		},
		{
			resource: "MallocVolume", collection: "mallocVolumes", ids: []string{"mem-1", "mem-2", "mem-3"},
			bodies: of(&pb.MallocVolume{BlockSize: 512, BlocksCount: 2048}, &pb.MallocVolume{BlockSize: 512, BlocksCount: 4096}, &pb.MallocVolume{BlockSize: 7, BlocksCount: 2048}),
			open:   []string{"uuid"},
			valid:  func(f flat) bool { return number(f, "block_size") == 512 },
		},
		{
			resource: "AioVolume", collection: "aioVolumes", ids: []string{"file-1"},
			bodies: []func(*rig) proto.Message{
				func(r *rig) proto.Message {
					return &pb.AioVolume{BlockSize: 512, BlocksCount: 2048, Filename: r.image}
				},
				func(*rig) proto.Message {
					return &pb.AioVolume{BlockSize: 512, BlocksCount: 2048, Filename: "relative"}
				},
			},
			open:  []string{"uuid"},
			valid: func(f flat) bool { return strings.HasPrefix(f["filename"], "/") },
		},
		{
			resource: "EncryptedVolume", collection: "encryptedVolumes", ids: []string{"safe-1"}, ref: "volume_name_ref",
			bodies: of(&pb.EncryptedVolume{Cipher: pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_128, Key: []byte(strings.Repeat("a", 16) + strings.Repeat("b", 16))},
				&pb.EncryptedVolume{Cipher: pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_128, Key: []byte(strings.Repeat("c", 16) + strings.Repeat("d", 16))},
				&pb.EncryptedVolume{Cipher: pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_256, Key: []byte("short")}),
			hidden: []string{"key"}, open: []string{"key"},
			valid: func(f flat) bool { return len(f["key"]) == 32 },
			takes: volume("volume_name_ref"),
		},
		{
			resource: "QosVolume", collection: "qosVolumes", ids: []string{"slow-1", "slow-2"}, ref: "volume_name_ref",
			bodies: of(&pb.QosVolume{Limits: &pb.Limits{Max: &pb.QosLimit{RwIopsKiops: 3}}}, &pb.QosVolume{Limits: &pb.Limits{Max: &pb.QosLimit{RwIopsKiops: 5}}},
				&pb.QosVolume{Limits: &pb.Limits{Max: &pb.QosLimit{RwBandwidthMbs: 30}}}, &pb.QosVolume{}, &pb.QosVolume{Limits: &pb.Limits{Min: &pb.QosLimit{RwIopsKiops: 1}}}),
			mutable: []string{"limits"},
			valid: func(f flat) bool {
				return len(f.without([]string{"volume_name_ref", "limits.min"})) > 0 && f["limits.min.rw_iops_kiops"] == ""
			},
			takes: func(_ string, f flat, base func(string) string) []string {
				return []string{"limits of " + base(f["volume_name_ref"])}
			},
		},
		{
			resource: "NvmeSubsystem", collection: "nvmeSubsystems", ids: []string{"sub-1", "sub-2"},
			bodies: of(&pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN + "1"}},
				&pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN + "1", Hostnqn: testNQN + "host"}},
				&pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN + "2", Hostnqn: testNQN + "other-host"}},
				&pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN + "2"}}, &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: "no nqn"}}),
			mutable: []string{"spec.hostnqn"}, open: []string{"spec.serial_number", "spec.model_number", "spec.max_namespaces"},
			valid: func(f flat) bool { return strings.HasPrefix(f["spec.nqn"], testNQN) },
			takes: func(_ string, f flat, _ func(string) string) []string { return []string{"NQN " + f["spec.nqn"]} },
		},
	}
	return append(append(all, frontends()...), remotes()...)
}

const testNQN = "nqn.2024-01.io.example:"
