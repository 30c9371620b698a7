// SPDX-License-Identifier: Apache-2.0

package resource_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

func TestMasked(t *testing.T) {
	prior := &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{HostNsid: 1, VolumeNameRef: "old", Uuid: "u"}}
	update := &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{HostNsid: 7, VolumeNameRef: "new"}}
	spec := func(nsid int32, ref, uuid string) *pb.NvmeNamespace {
		return &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{HostNsid: nsid, VolumeNameRef: ref, Uuid: uuid}}
	}
	for _, row := range []struct {
		what string
		mask []string
		want *pb.NvmeNamespace // nil: refused
	}{
		{"no mask takes what is set", nil, spec(7, "new", "u")},
		{"an empty mask takes nothing", []string{}, spec(1, "old", "u")},
		{"a path takes one field", []string{"spec.volume_name_ref"}, spec(1, "new", "u")},
		{"a path clears a field that is not set", []string{"spec.uuid"}, spec(1, "old", "")},
		{"a message path takes all of it", []string{"spec"}, spec(7, "new", "")},
		{"a star takes everything", []string{"*"}, spec(7, "new", "")},
		{"a star stands alone", []string{"*", "spec"}, nil},
		{"unknown fields", []string{"spec.volume"}, nil},
		{"an empty path", []string{""}, nil},
		{"camel case", []string{"spec.volumeNameRef"}, nil},
		{"below a scalar", []string{"spec.uuid.x"}, nil},
		{"the name", []string{"name"}, nil},
		{"output-only fields", []string{"status"}, nil},
		{"fields below output-only ones", []string{"status.state"}, nil},
	} {
		got, err := namespaceKind(t).Masked(prior, update, row.mask)
		switch {
		case row.want == nil && !errors.Is(err, errdefs.InvalidArgument):
			t.Errorf("%s: want a refusal, got %v, %v", row.what, got, err)
		case row.want != nil && !proto.Equal(got, row.want):
			t.Errorf("%s: got %v, %v", row.what, got, err)
		}
	}
	if prior.GetSpec().GetVolumeNameRef() != "old" || update.GetSpec().GetUuid() != "" {
		t.Error("Masked changed what it was given")
	}
}

func TestCheckChange(t *testing.T) {
	k := namespaceKind(t)
	a := &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{HostNsid: 1, VolumeNameRef: "a"}}
	b := &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{HostNsid: 1, VolumeNameRef: "b"}}
	if err := k.CheckChange(a, b); err != nil {
		t.Errorf("a mutable field: %v", err)
	}
	b.Spec.HostNsid, b.Spec.Eui64 = 2, 3
	fields := errdefs.Fields(k.CheckChange(a, b))
	if len(fields) != 2 || fields[0].Field != "spec.host_nsid" || fields[1].Field != "spec.eui64" {
		t.Errorf("fixed fields: got %v", fields)
	}
}

func TestOutputOnlyIsCleared(t *testing.T) {
	m := &pb.NvmeNamespace{Name: "n", Spec: &pb.NvmeNamespaceSpec{HostNsid: 1}, Status: &pb.NvmeNamespaceStatus{State: 2}}
	resource.ClearOutputOnly(m)
	if m.GetStatus() != nil || m.GetName() != "n" || m.GetSpec().GetHostNsid() != 1 {
		t.Errorf("got %v", m)
	}
}

func TestRecordComesBackFromItsBody(t *testing.T) {
	k := namespaceKind(t)
	now := time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)
	r := &resource.Record{
		Name: "nvmeSubsystems/web-1/nvmeNamespaces/disk-1", Kind: k, State: resource.StateUpdating, Created: now, Updated: now, Revision: 7,
		Message: &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{HostNsid: 1, Eui64: -5, VolumeNameRef: "b"}},
		Prior:   &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{HostNsid: 1, Eui64: -5, VolumeNameRef: "a"}},
	}
	body, _, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Decode(r.Name, 7, body, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got.Message, r.Message) || !proto.Equal(got.Prior, r.Prior) || got.State != r.State || !got.Created.Equal(now) || got.Revision != 7 {
		t.Errorf("got %+v from %s", got, body)
	}
	for _, bad := range []string{``, `{}`, `{"state":"ODD","message":{}}`, `{"state":"READY","message":{"colour":"red"}}`} {
		if _, err := k.Decode(r.Name, 1, []byte(bad), nil); err == nil {
			t.Errorf("body %q was taken", bad)
		}
	}
}

func TestLeavesNameEverySettableField(t *testing.T) {
	var paths []string
	resource.Leaves((&pb.NvmeController{}).ProtoReflect().Descriptor(), func(path string, _ protoreflect.FieldDescriptor) { paths = append(paths, path) })
	for _, want := range []string{"spec.trtype", "spec.fabrics_id.traddr", "spec.pcie_id.port_id", "spec.max_limit.rd_iops_kiops"} {
		if !slices.Contains(paths, want) {
			t.Errorf("%s is missing in %v", want, paths)
		}
	}
	for _, not := range []string{"name", "status", "status.active", "spec"} {
		if slices.Contains(paths, not) {
			t.Errorf("%s is no settable leaf", not)
		}
	}
}
