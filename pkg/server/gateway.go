// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	inventorypb "github.com/opiproject/opi-api/inventory/v1/gen/go"
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs/errgrpc"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

// newGateway returns the REST face of the services behind conn. JSON is the gateway's usual form:
// lower camel case, fields at their default included. Unlike usual, a JSON field or query parameter
// that does not exist is refused.
func newGateway(ctx context.Context, conn *grpc.ClientConn) (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.HTTPBodyMarshaler{Marshaler: newMarshaler()}),
		runtime.WithMiddlewares(checkRequest(queryParameters())),
		runtime.WithErrorHandler(failed),
		runtime.WithIncomingHeaderMatcher(headerToMetadata),
		runtime.WithMetadata(callerMetadata),
		runtime.WithRoutingErrorHandler(noRoute),
	)
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		pb.RegisterAioVolumeServiceHandler,
		pb.RegisterFrontendNvmeServiceHandler,
		pb.RegisterFrontendVirtioBlkServiceHandler,
		pb.RegisterFrontendVirtioScsiServiceHandler,
		pb.RegisterMallocVolumeServiceHandler,
		pb.RegisterMiddleendEncryptionServiceHandler,
		pb.RegisterMiddleendQosVolumeServiceHandler,
		pb.RegisterNullVolumeServiceHandler,
		pb.RegisterNvmeRemoteControllerServiceHandler,
		inventorypb.RegisterInventoryServiceHandler,
		bridgev1.RegisterBridgeServiceHandler,
	} {
		if err := register(ctx, mux, conn); err != nil {
			return nil, fmt.Errorf("REST gateway: %w", err)
		}
	}
	if err := addRoutes(mux, conn); err != nil {
		return nil, fmt.Errorf("REST gateway: %w", err)
	}
	return mux, nil
}

// noRoute answers a request for which the API has no method, saying what was asked for.
func noRoute(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	switch code {
	case http.StatusNotFound:
		refuse(w, r, 0, errdefs.New(errdefs.NotFound, "the API has nothing at %s", r.URL.Path))
	case http.StatusMethodNotAllowed:
		refuse(w, r, code, errdefs.New(errdefs.Unimplemented, "the API has no %s for %s", r.Method, r.URL.Path))
	default:
		refuse(w, r, code, errdefs.New(errdefs.InvalidArgument, "%s %s: %s", r.Method, r.URL.Path, http.StatusText(code)))
	}
}

// failed answers with an error. What the gateway itself found wrong comes without details, and gets
// those that the errors of services have.
func failed(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	if st, ok := status.FromError(err); ok && st.Code() == codes.InvalidArgument && len(st.Details()) == 0 {
		own := error(errdefs.New(errdefs.InvalidArgument, "%s", st.Message()))
		if field := inBody.FindStringSubmatch(st.Message()); field != nil {
			own = errdefs.InvalidField(field[1], "%s", st.Message())
		}
		err = errgrpc.ToStatus(own).Err()
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, err)
}

// withoutEmptyMask takes the mask off an update over REST that sets nothing: the gateway would send one
// with an empty path.
func withoutEmptyMask(
	ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	if update, ok := req.(interface{ GetUpdateMask() *fieldmaskpb.FieldMask }); ok {
		if mask := update.GetUpdateMask(); slices.Equal(mask.GetPaths(), []string{""}) {
			mask.Paths = nil
		}
	}
	return invoke(ctx, method, req, reply, conn, options...)
}

// headerToMetadata says which HTTP headers go on, and as what: the gateway's usual choice and the
// trace context, but nothing that would speak for the gateway itself.
func headerToMetadata(header string) (string, bool) {
	if spoofable(header) {
		return "", false
	}
	switch lower := strings.ToLower(header); lower {
	case "traceparent", "tracestate":
		return lower, true
	}
	return runtime.DefaultHeaderMatcher(header)
}

// callerMetadata passes on who the HTTP client is.
func callerMetadata(_ context.Context, r *http.Request) metadata.MD {
	if cert := verified(r.TLS); cert != nil {
		return metadata.Pairs(callerKey, string(cert.Raw))
	}
	return nil
}

// refuse answers a request with err, as the gateway answers with the errors of services. httpCode 0
// means the one that the gRPC code maps to.
func refuse(w http.ResponseWriter, r *http.Request, httpCode int, err error) {
	st := errgrpc.ToStatus(err).Err()
	if httpCode != 0 {
		st = &runtime.HTTPStatusError{HTTPStatus: httpCode, Err: st}
	}
	runtime.DefaultHTTPErrorHandler(r.Context(), runtime.NewServeMux(), newMarshaler(), w, r, st)
}
