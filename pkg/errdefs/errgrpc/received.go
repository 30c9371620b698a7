// SPDX-License-Identifier: Apache-2.0

package errgrpc

import (
	"context"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// received is an error that came over the wire. Its text is the peer's, unchanged; class, details and
// cause are found in its tree.
type received struct {
	text string
	tree []error
}

func (r *received) Error() string   { return r.text }
func (r *received) Unwrap() []error { return r.tree }

// FromError returns err, an error of a gRPC call, as an error of package errdefs with its class and
// details. FromError(nil) is nil, and an error that is no status is returned as it is.
//
// UNAVAILABLE, DEADLINE_EXCEEDED and CANCELED without an ErrorInfo of our domain are not the server's
// word but the transport's: the request may have been carried out. They become OutcomeUnknown, with
// context.DeadlineExceeded or context.Canceled in the tree for the latter two.
func FromError(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	return FromStatus(st)
}

// FromStatus is [FromError] for a status. It returns nil for a nil status and for OK.
func FromStatus(st *status.Status) error {
	if st == nil || st.Code() == codes.OK {
		return nil
	}
	var (
		info          *errdetails.ErrorInfo
		fields        []errdefs.FieldViolation
		preconditions []errdefs.Precondition
	)
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == Domain {
				info = d
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				fields = append(fields, errdefs.FieldViolation{Field: v.GetField(), Description: v.GetDescription()})
			}
		case *errdetails.PreconditionFailure:
			for _, v := range d.GetViolations() {
				preconditions = append(preconditions, errdefs.Precondition{
					Type: v.GetType(), Subject: v.GetSubject(), Description: v.GetDescription(),
				})
			}
		}
	}
	class, cause := classOf(st.Code(), info)
	carrier := errdefs.New(class, "%s", st.Message())
	for _, p := range preconditions {
		carrier = carrier.WithPrecondition(p)
	}
	if info != nil {
		carrier = carrier.WithInfo(infoOf(class, info))
	}
	out := &received{text: st.Message(), tree: []error{carrier}}
	if len(fields) > 0 {
		out.tree = append(out.tree, errdefs.Invalid(fields))
	}
	if cause != nil {
		out.tree = append(out.tree, cause)
	}
	return out
}

// classOf returns the class for a code. info is nil when the status is not from a server of ours.
func classOf(code codes.Code, info *errdetails.ErrorInfo) (class errdefs.Class, cause error) {
	switch code {
	case codes.Unavailable:
		if info == nil || info.GetReason() == ReasonOutcomeUnknown {
			return errdefs.OutcomeUnknown, nil
		}
		return errdefs.Unavailable, nil
	case codes.DeadlineExceeded:
		if info == nil {
			return errdefs.OutcomeUnknown, context.DeadlineExceeded
		}
		return errdefs.DeadlineExceeded, context.DeadlineExceeded
	case codes.Canceled:
		if info == nil {
			return errdefs.OutcomeUnknown, context.Canceled
		}
		return errdefs.Canceled, context.Canceled
	case codes.InvalidArgument, codes.OutOfRange:
		return errdefs.InvalidArgument, nil
	case codes.NotFound:
		return errdefs.NotFound, nil
	case codes.AlreadyExists:
		return errdefs.AlreadyExists, nil
	case codes.FailedPrecondition:
		return errdefs.FailedPrecondition, nil
	case codes.ResourceExhausted:
		return errdefs.ResourceExhausted, nil
	case codes.Aborted:
		return errdefs.Aborted, nil
	case codes.Unimplemented:
		return errdefs.Unimplemented, nil
	case codes.PermissionDenied:
		return errdefs.PermissionDenied, nil
	case codes.Unauthenticated:
		return errdefs.Unauthenticated, nil
	case codes.OK, codes.Unknown, codes.Internal, codes.DataLoss:
		return errdefs.Internal, nil
	}
	return errdefs.Internal, nil
}
