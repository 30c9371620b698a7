// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// strict registers generated services so that they too refuse fields which this build's API does not
// know, behind the server's interceptors.
type strict struct{ grpc.ServiceRegistrar }

// RegisterService implements grpc.ServiceRegistrar.
func (s strict) RegisterService(desc *grpc.ServiceDesc, impl any) {
	checked := *desc
	checked.Methods = slices.Clone(desc.Methods)
	for i := range checked.Methods {
		checked.Methods[i].Handler = checking(desc.Methods[i].Handler)
	}
	s.ServiceRegistrar.RegisterService(&checked, impl)
}

func checking(inner grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		return inner(srv, ctx, decode, func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			next := func(ctx context.Context, req any) (any, error) {
				if msg, ok := req.(proto.Message); ok {
					if err := errdefs.Invalid(unknown(msg.ProtoReflect(), "", nil)); err != nil {
						return nil, err
					}
				}
				return handler(ctx, req)
			}
			if interceptor == nil {
				return next(ctx, req)
			}
			return interceptor(ctx, req, info, next)
		})
	}
}
