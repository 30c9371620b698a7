// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// client calls the methods of any kind, found by their names in the API's descriptors.
type client struct {
	conn *grpc.ClientConn
}

// method finds "<verb><Resource>" among the services of the API.
func method(t testing.TB, k *resource.Kind, verb string) protoreflect.MethodDescriptor {
	t.Helper()
	want := verb + string(k.Message().Name())
	if verb == "List" {
		want += "s"
	}
	var found protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage(k.Message().ParentFile().Package(), func(fd protoreflect.FileDescriptor) bool {
		for i := range fd.Services().Len() {
			if m := fd.Services().Get(i).Methods().ByName(protoreflect.Name(want)); m != nil {
				found = m
			}
		}
		return true
	})
	if found == nil {
		t.Fatalf("the API has no method %s", want)
	}
	return found
}

// call makes a request with the given fields, which it may lack, and returns the answer.
func (c client) call(ctx context.Context, t testing.TB, k *resource.Kind, verb string, fields map[string]any) (protoreflect.Message, error) {
	t.Helper()
	m := method(t, k, verb)
	request, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	in, out := request.New(), answer.New()
	for name, value := range fields {
		fd := in.Descriptor().Fields().ByName(protoreflect.Name(name))
		if fd == nil {
			continue
		}
		if m, ok := value.(proto.Message); ok {
			value = m.ProtoReflect()
		}
		in.Set(fd, protoreflect.ValueOf(value))
	}
	path := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	return out, c.conn.Invoke(ctx, path, in.Interface(), out.Interface())
}

// body returns the request field that holds a resource of the kind: "null_volume".
func body(k *resource.Kind) string {
	var b strings.Builder
	for _, r := range k.Singular() {
		if 'A' <= r && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (c client) create(ctx context.Context, t testing.TB, k *resource.Kind, name resource.Name, m proto.Message) (proto.Message, error) {
	t.Helper()
	got, err := c.call(ctx, t, k, "Create", map[string]any{
		"parent": string(name.Parent()), body(k): m, body(k) + "_id": name.ID(),
	})
	return got.Interface(), err
}

func (c client) get(ctx context.Context, t testing.TB, k *resource.Kind, name resource.Name) (proto.Message, error) {
	t.Helper()
	got, err := c.call(ctx, t, k, "Get", map[string]any{"name": string(name)})
	return got.Interface(), err
}

func (c client) update(ctx context.Context, t testing.TB, k *resource.Kind, name resource.Name, m proto.Message, allowMissing bool, mask ...string) (proto.Message, error) {
	t.Helper()
	m = proto.Clone(m)
	resource.SetName(m, name)
	fields := map[string]any{body(k): m, "allow_missing": allowMissing}
	if mask != nil {
		fields["update_mask"] = &fieldmaskpb.FieldMask{Paths: mask}
	}
	got, err := c.call(ctx, t, k, "Update", fields)
	return got.Interface(), err
}

func (c client) remove(ctx context.Context, t testing.TB, k *resource.Kind, name resource.Name, allowMissing bool) error {
	t.Helper()
	_, err := c.call(ctx, t, k, "Delete", map[string]any{"name": string(name), "allow_missing": allowMissing})
	return err
}

// page lists one page and returns the names on it and the token of the next.
func (c client) page(ctx context.Context, t testing.TB, k *resource.Kind, parent resource.Name, size int32, token string) ([]resource.Name, string, error) {
	t.Helper()
	out, err := c.call(ctx, t, k, "List", map[string]any{"parent": listParent(k, parent), "page_size": size, "page_token": token})
	if err != nil {
		return nil, "", err
	}
	var names []resource.Name
	out.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.IsList() {
			for i := range v.List().Len() {
				names = append(names, resource.NameOf(v.List().Get(i).Message().Interface()))
			}
		}
		return true
	})
	return names, out.Get(out.Descriptor().Fields().ByName("next_page_token")).String(), nil
}

// listParent returns the parent of a list: that of the resources, or for some kinds at the top what
// the API's URL has in its place.
func listParent(k *resource.Kind, parent resource.Name) string {
	switch k.Singular() {
	case "virtioScsiTarget", "virtioScsiController", "virtioScsiLun":
		return k.Plural()
	case "encryptedVolume", "qosVolume":
		return "volumes"
	}
	return string(parent)
}
