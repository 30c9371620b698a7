// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs/errgrpc"
)

// callTime bounds a call: long enough for every right answer, on a slow machine too.
const callTime = 30 * time.Second

// client calls any method of the storage API by its name.
type client struct{ conn *grpc.ClientConn }

func dial(t *testing.T, addr string) client {
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
	return client{conn}
}

// methodNamed finds a method of the storage API, nil when it has none of that name.
func methodNamed(name string) protoreflect.MethodDescriptor {
	var found protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage((&pb.NullVolume{}).ProtoReflect().Descriptor().ParentFile().Package(), func(fd protoreflect.FileDescriptor) bool {
		for i := range fd.Services().Len() {
			if m := fd.Services().Get(i).Methods().ByName(protoreflect.Name(name)); m != nil {
				found = m
			}
		}
		return found == nil
	})
	return found
}

// invoke calls a method with those of the fields that its request has.
func (c client) invoke(ctx context.Context, name string, fields map[string]any) (proto.Message, error) {
	m := methodNamed(name)
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
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err = c.conn.Invoke(ctx, fmt.Sprintf("/%s/%s", m.Parent().FullName(), name), in.Interface(), out.Interface())
	return out.Interface(), err
}

// outcome is what an answer says of whether the request took effect.
type outcome int

const (
	done     outcome = iota // it was answered without an error
	refused                 // the bridge says no, and why; nothing was done
	tryAgain                // the bridge says not now; nothing was done
	unknown                 // there is no answer, or the bridge does not know: it may yet happen
)

// judge says which of them an error is.
func judge(err error) outcome {
	if err == nil {
		return done
	}
	code := status.Code(err)
	ours, lost := false, false
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == errgrpc.Domain {
			ours, lost = true, info.GetReason() == errgrpc.ReasonOutcomeUnknown
		}
	}
	switch {
	case !ours, lost, code == codes.DeadlineExceeded, code == codes.Canceled:
		return unknown
	case code == codes.Unavailable, code == codes.Aborted:
		return tryAgain
	}
	return refused
}

// snake makes "null_volume" of "NullVolume".
func snake(name string) string {
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
