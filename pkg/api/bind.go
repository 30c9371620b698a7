// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Register registers all OPI storage services with registrar, served by engine. It fails when the
// API's descriptors are not of the shape that this package knows, which is a mistake of this build.
func Register(registrar grpc.ServiceRegistrar, engine Engine) error {
	return register(registrar, engine, nil)
}

// RegisterCompat is Register for clients of opi-spdk-bridge: names, references and some manners are
// those of that bridge, beside the API's own. The engine should take ids of a single character.
func RegisterCompat(registrar grpc.ServiceRegistrar, engine Engine) error {
	return register(registrar, engine, newCompat(engine))
}

func register(registrar grpc.ServiceRegistrar, engine Engine, compat *compat) error {
	kinds := make(map[protoreflect.FullName]*resource.Kind)
	for _, kind := range engine.Kinds() {
		kinds[kind.Message().FullName()] = kind
	}
	for _, service := range servicesOf(pb.File_opicommon_proto.Package()) {
		desc, err := bind(service, engine, kinds, compat)
		if err != nil {
			return err
		}
		// The handlers need no receiver, so there is no implementation to hand over.
		registrar.RegisterService(desc, nil)
	}
	return nil
}

// bind returns what gRPC needs to serve one service.
func bind(service protoreflect.ServiceDescriptor, engine Engine, kinds map[protoreflect.FullName]*resource.Kind, compat *compat) (*grpc.ServiceDesc, error) {
	desc := &grpc.ServiceDesc{
		ServiceName: string(service.FullName()),
		Metadata:    service.ParentFile().Path(),
	}
	for i := range service.Methods().Len() {
		m, err := describe(service.Methods().Get(i))
		if err != nil {
			return nil, fmt.Errorf("binding %s: %w", service.FullName(), err)
		}
		h := &handler{method: m, kind: kinds[m.resource], engine: engine, compat: compat}
		desc.Methods = append(desc.Methods, grpc.MethodDesc{
			MethodName: string(m.desc.Name()),
			Handler:    h.grpc(fmt.Sprintf("/%s/%s", service.FullName(), m.desc.Name())),
		})
	}
	return desc, nil
}

// handler serves one method.
type handler struct {
	*method
	kind   *resource.Kind // nil if the engine does not have it
	engine Engine
	compat *compat // nil for the API's own words only
}

// grpc returns the function that gRPC calls for the method of that full name.
func (h *handler) grpc(fullMethod string) grpc.MethodHandler {
	serve := func(ctx context.Context, req any) (any, error) {
		msg, ok := req.(proto.Message)
		if !ok {
			return nil, errdefs.New(errdefs.Internal, "request of %s is a %T", fullMethod, req)
		}
		if h.compat != nil {
			return h.compat.serve(ctx, h, msg.ProtoReflect())
		}
		return h.serve(ctx, msg.ProtoReflect())
	}
	return func(_ any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		req := h.in.New().Interface()
		if err := decode(req); err != nil {
			return nil, err
		}
		if interceptor == nil {
			return serve(ctx, req)
		}
		return interceptor(ctx, req, &grpc.UnaryServerInfo{FullMethod: fullMethod}, serve)
	}
}

// serve checks what is common to all verbs and calls the verb.
func (h *handler) serve(ctx context.Context, req protoreflect.Message) (proto.Message, error) {
	if h.kind == nil {
		return nil, errdefs.New(errdefs.Unimplemented, "%s is not served: this bridge has no %s",
			h.desc.Name(), h.resource.Name())
	}
	if err := h.checkShape(req); err != nil {
		return nil, err
	}
	switch h.verb {
	case verbCreate:
		return h.create(ctx, req)
	case verbUpdate:
		return h.update(ctx, req)
	case verbDelete:
		return h.delete(ctx, req)
	case verbGet:
		return h.get(ctx, req)
	case verbList:
		return h.list(ctx, req)
	case verbStats:
		return h.statistics(ctx, req)
	case verbReset:
		return h.reset(ctx, req)
	}
	return nil, errdefs.New(errdefs.Unimplemented, "%s is not served", h.desc.Name())
}
