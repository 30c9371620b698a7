// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"strconv"
	"strings"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"
)

// frontends are the kinds that show volumes to hosts.
func frontends() []*shape {
	const ref = "volume_name_ref"
	disk := "spec." + ref
	return []*shape{
		{
			resource: "NvmeController", collection: "nvmeControllers", above: "nvmeSubsystems", parents: subsystems, ids: []string{"ctrl-1", "ctrl-2"},
			bodies:  []func(*rig) proto.Message{endpoint(0), endpoint(1), endpoint(-1)},
			mutable: []string{"spec.fabrics_id"},
			valid:   func(f flat) bool { return number(f, "spec.fabrics_id.trsvcid") > 0 },
			takes: func(parent string, f flat, _ func(string) string) []string {
				return []string{"port " + f["spec.fabrics_id.trsvcid"] + " in " + parent}
			},
		},
		{
			resource: "NvmeNamespace", collection: "nvmeNamespaces", above: "nvmeSubsystems", parents: subsystems, ids: []string{"disk-1", "disk-2"}, ref: disk,
			bodies:  of(&pb.NvmeNamespace{}, &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{HostNsid: 7}}, &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{HostNsid: -1}}),
			mutable: []string{disk}, open: []string{"spec.host_nsid", "spec.uuid", "spec.nguid", "spec.eui64"},
			valid: func(f flat) bool { return number(f, "spec.host_nsid") >= 0 },
			takes: func(parent string, f flat, base func(string) string) []string {
				words := []string{"volume " + base(f[disk])}
				if nsid := f["spec.host_nsid"]; nsid != "" {
					words = append(words, "nsid "+nsid+" in "+parent)
				}
				return words
			},
		},
		{
			resource: "VirtioBlk", collection: "virtioBlks", ids: []string{"blk-1", "blk-2"}, ref: ref,
			bodies:  of(&pb.VirtioBlk{PcieId: function(1)}, &pb.VirtioBlk{PcieId: function(2)}, &pb.VirtioBlk{PcieId: function(2), MaxLimit: &pb.QosLimit{RwIopsKiops: 4}}, &pb.VirtioBlk{}),
			mutable: []string{ref, "max_limit"},
			valid:   func(f flat) bool { return f["pcie_id.virtual_function.value"] != "" },
			takes: func(_ string, f flat, base func(string) string) []string {
				words := []string{"volume " + base(f[ref]), "function " + f["pcie_id.virtual_function.value"]}
				if f["max_limit.rw_iops_kiops"] != "" {
					words = append(words, "limits of "+base(f[ref]))
				}
				return words
			},
		},
		{
			resource: "VirtioScsiTarget", collection: "virtioScsiTargets", ids: []string{"scsi-1"},
			bodies: of(&pb.VirtioScsiTarget{}, &pb.VirtioScsiTarget{MaxLuns: 1}, &pb.VirtioScsiTarget{MaxLuns: 99}),
			open:   []string{"max_luns"},
			valid:  func(f flat) bool { return number(f, "max_luns") <= 8 },
		},
		{
			resource: "VirtioScsiController", collection: "virtioScsiControllers", ids: []string{"scsi-2"},
			bodies: of(&pb.VirtioScsiController{PcieId: function(3)}, &pb.VirtioScsiController{PcieId: function(1)}),
			valid:  always1,
			takes: func(_ string, f flat, _ func(string) string) []string {
				return []string{"function " + f["pcie_id.virtual_function.value"]}
			},
		},
		{
			resource: "VirtioScsiLun", collection: "virtioScsiLuns", ids: []string{"lun-1"}, ref: ref, refs: []string{"target_name_ref"},
			bodies:  of(&pb.VirtioScsiLun{TargetNameRef: "virtioScsiTargets/scsi-1"}, &pb.VirtioScsiLun{TargetNameRef: "virtioScsiControllers/scsi-2"}, &pb.VirtioScsiLun{TargetNameRef: "mem-1"}),
			mutable: []string{ref},
			valid:   func(f flat) bool { return strings.Contains(f["target_name_ref"], "/") },
			takes:   volume(ref),
		},
	}
}

// endpoint is a listener on the n-th of the rig's ports, or on none.
func endpoint(n int) func(*rig) proto.Message {
	return func(r *rig) proto.Message {
		port := "none"
		if n >= 0 {
			port = strconv.Itoa(r.ports[n])
		}
		return &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP,
			Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
				Traddr: "127.0.0.1", Trsvcid: port, Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			}},
		}}
	}
}

// remotes are the kinds that reach storage nodes.
func remotes() []*shape {
	path := func(n int) func(*rig) proto.Message {
		return func(r *rig) proto.Message {
			return &pb.NvmePath{Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP, Traddr: "127.0.0.1", Fabrics: &pb.FabricsPath{
				Trsvcid: int64(r.storage[n]), Subnqn: storageNQN, Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4, Hostnqn: testNQN + "dpu",
			}}
		}
	}
	return []*shape{
		{
			resource: "NvmeRemoteController", collection: "nvmeRemoteControllers", ids: []string{"far-1"},
			bodies: of(&pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH},
				&pb.NvmeRemoteController{}, &pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH, QueueSize: 8}),
			valid: func(f flat) bool { return f["multipath"] != "" && f["queue_size"] == "" },
		},
		{
			resource: "NvmePath", collection: "nvmePaths", above: "nvmeRemoteControllers", parents: []string{"nvmeRemoteControllers/far-1"}, ids: []string{"path-1", "path-2"},
			bodies:  []func(*rig) proto.Message{path(0), path(1)},
			mutable: []string{"fabrics.trsvcid"},
			valid:   always1,
			takes: func(_ string, f flat, _ func(string) string) []string {
				return []string{"connection to " + f["fabrics.trsvcid"]}
			},
		},
	}
}
