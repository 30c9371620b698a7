// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func TestAssign(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("NVMeTLSkey-1:01:x:"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		into, want proto.Message
		args       []string
	}{
		{&pb.MallocVolume{}, &pb.MallocVolume{BlockSize: 512, BlocksCount: 0x20000, Uuid: "a=b"}, []string{"block_size=512", "blocks_count=0x20000", "uuid=a=b"}},
		{&pb.NvmeSubsystem{}, &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: "nqn.x", Psk: []byte("NVMeTLSkey-1:01:x:")}}, []string{"spec.nqn=nqn.x", "spec.psk=@" + key}},
		{&pb.NvmePath{}, &pb.NvmePath{Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP, Fabrics: &pb.FabricsPath{Trsvcid: 4420, Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4}}, []string{"trtype=tcp", "fabrics.trsvcid=4420", "fabrics.adrfam=NVME_ADDRESS_FAMILY_IPV4"}},
		{&pb.NvmeRemoteController{}, &pb.NvmeRemoteController{Tcp: &pb.TcpController{Hdgst: true}}, []string{`tcp={"hdgst":true}`}},
		{&pb.MallocVolume{BlockSize: 4096, BlocksCount: 1}, &pb.MallocVolume{BlocksCount: 1}, []string{"block_size="}},
	} {
		paths, err := assign(row.into.ProtoReflect(), row.args)
		if err != nil || !proto.Equal(row.into, row.want) || len(paths) != len(row.args) {
			t.Errorf("%q gave %v, want %v (paths %q, %v)", row.args, row.into, row.want, paths, err)
		}
	}
}

func TestAssignmentsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		into proto.Message
		args []string
		says string
	}{
		{&pb.MallocVolume{}, []string{"block_size"}, "want field=value"},
		{&pb.MallocVolume{}, []string{"size=1"}, "it has block_size, blocks_count"},
		{&pb.MallocVolume{}, []string{"block_size=many"}, "whole number"},
		{&pb.MallocVolume{}, []string{"block_size=1", "block_size=2"}, "twice"},
		{&pb.MallocVolume{}, []string{"block_size.x=1"}, "no fields below"},
		{&pb.NvmePath{}, []string{"trtype=tpc"}, "FC, PCIE, RDMA, TCP, CUSTOM"},
		{&pb.NvmeSubsystem{}, []string{"spec.psk=hush!!"}, "base64"},
		{&pb.NvmeSubsystem{}, []string{"spec.psk=@/does/not/exist"}, "no such file"},
		{&pb.NvmeRemoteController{}, []string{"tcp=yes"}, "as JSON"},
	} {
		_, err := assign(row.into.ProtoReflect(), row.args)
		var usage usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v, want one that says %q", row.args, err, row.says)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	got, err := findResource("nvmeSubsystems/web-1/nvmeNamespaces/disk-1")
	if err != nil || got.plural() != "nvmeNamespaces" || got.parent != "nvmeSubsystems/web-1" || got.id != "disk-1" ||
		got.name() != "nvmeSubsystems/web-1/nvmeNamespaces/disk-1" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := findCollection("nvmeSubsystems/web-1/nvmeControllers"); err != nil || got.parent != "nvmeSubsystems/web-1" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, arg := range []string{"", "/", "nvmeSubsystems/", "nvmeSubsystem/x", "nvmeSubsystems//nvmeNamespaces", "mallocVolumes/a/b"} {
		if _, err := find(arg); err == nil {
			t.Errorf("%q points at something", arg)
		}
	}
}

// Every kind of the API that can be got can be listed too, and all verbs of the API are found.
func TestCatalogIsWhole(t *testing.T) {
	t.Parallel()
	methods := 0
	eachMethod(func(protoreflect.MethodDescriptor) { methods++ })
	found := 0
	for _, k := range kinds() {
		found += len(k.methods)
		if k.methods[verbList] == nil {
			t.Errorf("%s cannot be listed", k.collection())
		}
	}
	if found != methods {
		t.Errorf("%d methods of %d belong to a kind", found, methods)
	}
	if !slices.IsSorted(collections()) {
		t.Error("collections are not sorted")
	}
}

// What create prints as JSON or YAML, -f takes.
func TestFilesGoRoundAndRound(t *testing.T) {
	t.Parallel()
	want := &pb.NvmeSubsystem{Name: "nvmeSubsystems/web-1", Spec: &pb.NvmeSubsystemSpec{Nqn: "nqn.2024-01.io.example:a", MaxNamespaces: 32, SerialNumber: "0012"}}
	target, err := findResource(want.GetName())
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"json", "yaml"} {
		var out bytes.Buffer
		if err := (&session{output: format}).show(&out, []protoreflect.Message{want.ProtoReflect()}, false); err != nil {
			t.Fatal(err)
		}
		got, _, err := target.newResource(&out, "-", nil)
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v, %v", format, got, err)
		}
	}
	for _, input := range []string{"", "[]", "a: [", "nqn: x", "{\"spec\": {\"nqn\": 5}}", "1: 2"} {
		if _, _, err := target.newResource(strings.NewReader(input), "-", nil); err == nil {
			t.Errorf("%q was taken", input)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := printTable(&out, []protoreflect.Message{
		(&pb.NvmeNamespace{Name: "nvmeSubsystems/web-1/nvmeNamespaces/disk-1", Spec: &pb.NvmeNamespaceSpec{HostNsid: 1, VolumeNameRef: "mallocVolumes/vol-1"}}).ProtoReflect(),
		(&pb.NvmeNamespace{Name: "nvmeSubsystems/web-1/nvmeNamespaces/disk-22", Status: &pb.NvmeNamespaceStatus{State: pb.NvmeNamespaceStatus_STATE_ENABLED}}).ProtoReflect(),
	})
	const want = `NAME                                          HOST_NSID   VOLUME_NAME_REF       STATE
nvmeSubsystems/web-1/nvmeNamespaces/disk-1    1           mallocVolumes/vol-1   -
nvmeSubsystems/web-1/nvmeNamespaces/disk-22   -           -                     ENABLED
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}
