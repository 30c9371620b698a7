// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/opi-bridge/opi-bridge/pkg/api"
)

// addRoutes adds to the gateway the routes for which there is no generated code.
func addRoutes(mux *runtime.ServeMux, conn *grpc.ClientConn) error {
	for _, route := range api.Routes() {
		if !route.Added {
			continue
		}
		handler, err := get(mux, conn, route)
		if err == nil {
			err = mux.HandlePath(route.HTTPMethod, route.Template, handler)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", route.HTTPMethod, route.Template, err)
		}
	}
	return nil
}

// get returns a handler that does for a GET without variables in its path what generated ones do.
func get(mux *runtime.ServeMux, conn *grpc.ClientConn, route api.Route) (runtime.HandlerFunc, error) {
	in, err := protoregistry.GlobalTypes.FindMessageByName(route.Method.Input().FullName())
	if err != nil {
		return nil, err
	}
	out, err := protoregistry.GlobalTypes.FindMessageByName(route.Method.Output().FullName())
	if err != nil {
		return nil, err
	}
	fullMethod := fmt.Sprintf("/%s/%s", route.Method.Parent().FullName(), route.Method.Name())
	return func(w http.ResponseWriter, r *http.Request, _ map[string]string) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		_, marshaler := runtime.MarshalerForRequest(mux, r)
		ctx, err := runtime.AnnotateContext(ctx, mux, r, fullMethod, runtime.WithHTTPPathPattern(route.Template))
		if err != nil {
			runtime.HTTPError(ctx, mux, marshaler, w, r, err)
			return
		}
		req := in.New().Interface()
		none := utilities.NewDoubleArray(nil)
		if err := runtime.PopulateQueryParameters(req, r.URL.Query(), none); err != nil {
			runtime.HTTPError(ctx, mux, marshaler, w, r, status.Error(codes.InvalidArgument, err.Error()))
			return
		}
		var header, trailer metadata.MD
		answer := out.New().Interface()
		err = conn.Invoke(ctx, fullMethod, req, answer, grpc.Header(&header), grpc.Trailer(&trailer))
		ctx = runtime.NewServerMetadataContext(ctx, runtime.ServerMetadata{HeaderMD: header, TrailerMD: trailer})
		if err != nil {
			runtime.HTTPError(ctx, mux, marshaler, w, r, err)
			return
		}
		runtime.ForwardResponseMessage(ctx, mux, marshaler, w, r, answer, mux.GetForwardResponseOptions()...)
	}, nil
}
