// SPDX-License-Identifier: Apache-2.0

// Package apitest calls the methods of the storage API by their names, so that tests can be written
// once for every kind of resource. Tests import it, nothing else does.
package apitest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Client calls a bridge. Its methods may be used by several goroutines; errors are gRPC's.
type Client struct {
	// Conn is the connection to the bridge, for calls that no method of Client makes.
	Conn *grpc.ClientConn
}

// Dial returns a client of the bridge at addr ("host:port"), which need not be there yet: a call waits
// for it as long as its context lives, and finds it soon after each restart. No call is sent twice. The
// connection is closed at the end of the test.
func Dial(t testing.TB, addr string) Client {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), // a request that is sent twice is another history
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.2, MaxDelay: 20 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return Client{conn}
}

// Method finds a method of the storage API, nil when it has none of that name.
func Method(name string) protoreflect.MethodDescriptor {
	var found protoreflect.MethodDescriptor
	storage := (&pb.NullVolume{}).ProtoReflect().Descriptor().ParentFile().Package()
	protoregistry.GlobalFiles.RangeFilesByPackage(storage, func(fd protoreflect.FileDescriptor) bool {
		for i := range fd.Services().Len() {
			if m := fd.Services().Get(i).Methods().ByName(protoreflect.Name(name)); m != nil {
				found = m
			}
		}
		return found == nil
	})
	return found
}

// Invoke calls the method of that name with those of the fields that its request has, and returns the
// answer, an empty one with an error.
func (c Client) Invoke(ctx context.Context, name string, fields map[string]any) (proto.Message, error) {
	m := Method(name)
	if m == nil {
		return nil, fmt.Errorf("the API has no method %s", name)
	}
	request, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
	if err != nil {
		return nil, err
	}
	answer, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		return nil, err
	}
	in, out := request.New(), answer.New()
	for field, value := range fields {
		fd := in.Descriptor().Fields().ByName(protoreflect.Name(field))
		if fd == nil {
			continue
		}
		if message, ok := value.(proto.Message); ok {
			value = message.ProtoReflect()
		}
		in.Set(fd, protoreflect.ValueOf(value))
	}
	err = c.Conn.Invoke(ctx, fmt.Sprintf("/%s/%s", m.Parent().FullName(), name), in.Interface(), out.Interface())
	return out.Interface(), err
}

// Create creates a resource under the name.
func (c Client) Create(ctx context.Context, k *resource.Kind, name resource.Name, m proto.Message) (proto.Message, error) {
	body := Snake(k.Singular())
	return c.Invoke(ctx, verb("Create", k), map[string]any{"parent": string(name.Parent()), body: m, body + "_id": name.ID()})
}

// Get reads a resource.
func (c Client) Get(ctx context.Context, k *resource.Kind, name resource.Name) (proto.Message, error) {
	return c.Invoke(ctx, verb("Get", k), map[string]any{"name": string(name)})
}

// Update changes the fields in the mask, without one those that are set in m.
func (c Client) Update(ctx context.Context, k *resource.Kind, name resource.Name, m proto.Message, allowMissing bool, mask ...string) (proto.Message, error) {
	m = proto.Clone(m)
	resource.SetName(m, name)
	fields := map[string]any{Snake(k.Singular()): m, "allow_missing": allowMissing}
	if mask != nil {
		fields["update_mask"] = &fieldmaskpb.FieldMask{Paths: mask}
	}
	return c.Invoke(ctx, verb("Update", k), fields)
}

// Delete removes a resource.
func (c Client) Delete(ctx context.Context, k *resource.Kind, name resource.Name, allowMissing bool) error {
	_, err := c.Invoke(ctx, verb("Delete", k), map[string]any{"name": string(name), "allow_missing": allowMissing})
	return err
}

// Reset resets what can be reset.
func (c Client) Reset(ctx context.Context, k *resource.Kind, name resource.Name) error {
	_, err := c.Invoke(ctx, verb("Reset", k), map[string]any{"name": string(name)})
	return err
}

// List returns the names on one page, and the token of the next. A size of 0 leaves it to the bridge.
func (c Client) List(ctx context.Context, k *resource.Kind, parent resource.Name, size int32, token string) ([]resource.Name, string, error) {
	out, err := c.Invoke(ctx, verb("List", k)+"s", map[string]any{
		"parent": listParent(k, parent), "page_size": size, "page_token": token,
	})
	if err != nil {
		return nil, "", err
	}
	var names []resource.Name
	page := out.ProtoReflect()
	page.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.IsList() {
			for i := range v.List().Len() {
				names = append(names, resource.NameOf(v.List().Get(i).Message().Interface()))
			}
		}
		return true
	})
	return names, page.Get(page.Descriptor().Fields().ByName("next_page_token")).String(), nil
}

// verb returns the name of the kind's method: "CreateNullVolume".
func verb(verb string, k *resource.Kind) string { return verb + string(k.Message().Name()) }

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

// Snake makes "null_volume" of "NullVolume" and "nullVolume": the request field that holds one.
func Snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if 'A' <= r && r <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
