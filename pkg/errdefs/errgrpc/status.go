// SPDX-License-Identifier: Apache-2.0

package errgrpc

import (
	"errors"
	"maps"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Domain is the domain of the ErrorInfo in every error that a server of ours answers with.
const Domain = "opi-bridge"

// ReasonOutcomeUnknown is the reason of the ErrorInfo of an OutcomeUnknown, whose gRPC code is
// UNAVAILABLE. The error's own reason, if it has one, is then found in the metadata under "reason".
const ReasonOutcomeUnknown = "OUTCOME_UNKNOWN"

const (
	// maxDetails bounds the violations of each sort in one status: details travel in HTTP/2 headers,
	// whose size peers and proxies limit.
	maxDetails = 64
	// maxText bounds each text in a status, in bytes, for the same reason.
	maxText = 2048
)

// ToStatus returns err as a gRPC status: code by class, text as it is, details as the package comment
// says. ToStatus(nil) is nil. A gRPC status in the chain of an error that has no class is passed on.
func ToStatus(err error) *status.Status {
	if err == nil {
		return nil
	}
	class := errdefs.ClassOf(err)
	if class == errdefs.Internal {
		var carrier interface{ GRPCStatus() *status.Status }
		if errors.As(err, &carrier) && carrier.GRPCStatus() != nil {
			return carrier.GRPCStatus()
		}
	}
	st := status.New(codeOf(class), clean(err.Error()))
	details := []protoadapt.MessageV1{errorInfo(class, err)}
	if fields := errdefs.Fields(err); len(fields) > 0 {
		details = append(details, badRequest(fields))
	}
	if preconditions := errdefs.Preconditions(err); len(preconditions) > 0 {
		details = append(details, preconditionFailure(preconditions))
	}
	if detailed, err := st.WithDetails(details...); err == nil {
		return detailed
	}
	return st
}

// codeOf returns the gRPC code of a class.
func codeOf(class errdefs.Class) codes.Code {
	switch class {
	case errdefs.InvalidArgument:
		return codes.InvalidArgument
	case errdefs.NotFound:
		return codes.NotFound
	case errdefs.AlreadyExists:
		return codes.AlreadyExists
	case errdefs.FailedPrecondition:
		return codes.FailedPrecondition
	case errdefs.ResourceExhausted:
		return codes.ResourceExhausted
	case errdefs.Aborted:
		return codes.Aborted
	case errdefs.Unavailable, errdefs.OutcomeUnknown:
		return codes.Unavailable
	case errdefs.Unimplemented:
		return codes.Unimplemented
	case errdefs.PermissionDenied:
		return codes.PermissionDenied
	case errdefs.Unauthenticated:
		return codes.Unauthenticated
	case errdefs.DeadlineExceeded:
		return codes.DeadlineExceeded
	case errdefs.Canceled:
		return codes.Canceled
	case errdefs.Internal:
		return codes.Internal
	}
	return codes.Internal
}

// errorInfo returns the ErrorInfo of err. An error without a reason of its own gets its class as one.
func errorInfo(class errdefs.Class, err error) *errdetails.ErrorInfo {
	reason, metadata := errdefs.Info(err)
	info := &errdetails.ErrorInfo{Reason: clean(reason), Domain: Domain}
	if len(metadata) > 0 {
		info.Metadata = make(map[string]string, len(metadata)+1)
		for k, v := range metadata {
			info.Metadata[clean(k)] = clean(v)
		}
	}
	if class == errdefs.OutcomeUnknown {
		if reason != "" && reason != ReasonOutcomeUnknown {
			if info.Metadata == nil {
				info.Metadata = map[string]string{}
			}
			info.Metadata[metadataReason] = clean(reason)
		}
		info.Reason = ReasonOutcomeUnknown
	}
	if info.Reason == "" {
		info.Reason = defaultReason(class)
	}
	return info
}

// metadataReason is the key under which the reason of an OutcomeUnknown travels.
const metadataReason = "reason"

// defaultReason is the reason of an error that names none: its class in capitals.
func defaultReason(class errdefs.Class) string {
	return strings.ToUpper(strings.ReplaceAll(string(class), " ", "_"))
}

func badRequest(fields []errdefs.FieldViolation) *errdetails.BadRequest {
	out := &errdetails.BadRequest{}
	for _, f := range fields[:min(len(fields), maxDetails)] {
		out.FieldViolations = append(out.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: clean(f.Field), Description: clean(f.Description),
		})
	}
	return out
}

func preconditionFailure(preconditions []errdefs.Precondition) *errdetails.PreconditionFailure {
	out := &errdetails.PreconditionFailure{}
	for _, p := range preconditions[:min(len(preconditions), maxDetails)] {
		out.Violations = append(out.Violations, &errdetails.PreconditionFailure_Violation{
			Type: clean(p.Type), Subject: clean(p.Subject), Description: clean(p.Description),
		})
	}
	return out
}

// clean makes text fit for a protobuf string of bounded size.
func clean(text string) string {
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// infoOf returns reason and metadata as errdefs had them, undoing what errorInfo added.
func infoOf(class errdefs.Class, info *errdetails.ErrorInfo) (reason string, metadata map[string]string) {
	reason, metadata = info.GetReason(), maps.Clone(info.GetMetadata())
	if class == errdefs.OutcomeUnknown && reason == ReasonOutcomeUnknown {
		reason = metadata[metadataReason]
		delete(metadata, metadataReason)
	}
	if reason == defaultReason(class) && len(metadata) == 0 {
		reason = ""
	}
	return reason, metadata
}
