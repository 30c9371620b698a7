// SPDX-License-Identifier: Apache-2.0

package errgrpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
)

// UnaryServer turns the errors of unary handlers into status.
func UnaryServer(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := handler(ctx, req)
	if err != nil {
		return nil, ToStatus(err).Err()
	}
	return resp, nil
}

// StreamServer turns the errors of stream handlers into status.
func StreamServer(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return ToStatus(handler(srv, stream)).Err()
}

// UnaryClient turns the status of unary calls into errors of package errdefs.
func UnaryClient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return FromError(invoker(ctx, method, req, reply, cc, opts...))
}

// StreamClient turns the status of streams into errors of package errdefs.
func StreamClient(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := streamer(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, FromError(err)
	}
	return translated{stream}, nil
}

// translated is a client stream whose errors are ours; io.EOF, which is an end and not an error, stays.
type translated struct{ grpc.ClientStream }

// SendMsg implements grpc.ClientStream.
func (t translated) SendMsg(m any) error { return fromStream(t.ClientStream.SendMsg(m)) }

// RecvMsg implements grpc.ClientStream.
func (t translated) RecvMsg(m any) error { return fromStream(t.ClientStream.RecvMsg(m)) }

func fromStream(err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	return FromError(err)
}
