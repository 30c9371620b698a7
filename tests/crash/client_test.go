// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
	bridgepb "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

// client calls the methods of any kind, by their names in the API's descriptors.
type client struct{ conn *grpc.ClientConn }

func dial(t *testing.T, addr string) client {
	t.Helper()
	conn, err := grpc.NewClient("dns:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.2, MaxDelay: 20 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return client{conn}
}

// invoke calls "<verb><Resource>" with the fields that its request has.
func (c client) invoke(ctx context.Context, k *resource.Kind, verb string, fields map[string]any) (proto.Message, error) {
	var method protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage(k.Message().ParentFile().Package(), func(fd protoreflect.FileDescriptor) bool {
		for i := range fd.Services().Len() {
			if m := fd.Services().Get(i).Methods().ByName(protoreflect.Name(verb + string(k.Message().Name()))); m != nil {
				method = m
			}
		}
		return method == nil
	})
	request, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	if err != nil {
		return nil, err
	}
	answer, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, err
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
	err = c.conn.Invoke(ctx, fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name()), in.Interface(), out.Interface())
	return out.Interface(), err
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

func (c client) create(ctx context.Context, k *resource.Kind, name resource.Name, m proto.Message) (proto.Message, error) {
	return c.invoke(ctx, k, "Create", map[string]any{"parent": string(name.Parent()), body(k): m, body(k) + "_id": name.ID()})
}

func (c client) update(ctx context.Context, k *resource.Kind, name resource.Name, m proto.Message, mask ...string) (proto.Message, error) {
	m = proto.Clone(m)
	resource.SetName(m, name)
	return c.invoke(ctx, k, "Update", map[string]any{body(k): m, "update_mask": &fieldmaskpb.FieldMask{Paths: mask}})
}

func (c client) remove(ctx context.Context, k *resource.Kind, name resource.Name) error {
	_, err := c.invoke(ctx, k, "Delete", map[string]any{"name": string(name), "allow_missing": true})
	return err
}

// content returns an error unless the bridge says that every resource is as it should be.
func (c client) content(ctx context.Context) error {
	list, err := bridgepb.NewBridgeServiceClient(c.conn).ListResourceStatus(ctx, &bridgepb.ListResourceStatusRequest{NotReadyOnly: true})
	if err != nil {
		return err
	}
	for _, s := range list.GetResources() {
		return fmt.Errorf("%s is %s: %s", s.GetName(), s.GetState(), s.GetError())
	}
	return nil
}

func (c client) reset(ctx context.Context, k *resource.Kind, name resource.Name) error {
	_, err := c.invoke(ctx, k, "Reset", map[string]any{"name": string(name)})
	return err
}

// get returns the resource without what only the moment tells.
func (c client) get(ctx context.Context, k *resource.Kind, name resource.Name) (proto.Message, error) {
	m, err := c.invoke(ctx, k, "Get", map[string]any{"name": string(name)})
	if err != nil {
		return nil, err
	}
	return lasting(m), nil
}

// lasting returns a copy of m without output-only fields, which change with the moment.
func lasting(m proto.Message) proto.Message {
	m = proto.Clone(m)
	name := resource.NameOf(m)
	resource.ClearOutputOnly(m)
	resource.SetName(m, name)
	return m
}
