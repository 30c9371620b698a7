// SPDX-License-Identifier: Apache-2.0

package errgrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs/errgrpc"
)

// Every class arrives as itself, with its text, at the code that clients of any language expect.
func TestClassesSurviveTheWire(t *testing.T) {
	t.Parallel()
	for class, code := range map[errdefs.Class]codes.Code{
		errdefs.InvalidArgument:    codes.InvalidArgument,
		errdefs.NotFound:           codes.NotFound,
		errdefs.AlreadyExists:      codes.AlreadyExists,
		errdefs.FailedPrecondition: codes.FailedPrecondition,
		errdefs.ResourceExhausted:  codes.ResourceExhausted,
		errdefs.Aborted:            codes.Aborted,
		errdefs.Unavailable:        codes.Unavailable,
		errdefs.OutcomeUnknown:     codes.Unavailable,
		errdefs.Unimplemented:      codes.Unimplemented,
		errdefs.PermissionDenied:   codes.PermissionDenied,
		errdefs.Unauthenticated:    codes.Unauthenticated,
		errdefs.DeadlineExceeded:   codes.DeadlineExceeded,
		errdefs.Canceled:           codes.Canceled,
		errdefs.Internal:           codes.Internal,
	} {
		sent := fmt.Errorf("outer: %w", errdefs.New(class, "volume %q is odd", "m0"))
		st := errgrpc.ToStatus(sent)
		if st.Code() != code || st.Message() != sent.Error() {
			t.Errorf("%s: status %v %q, want %v %q", class, st.Code(), st.Message(), code, sent.Error())
		}
		got := errgrpc.FromError(st.Err())
		if !errors.Is(got, class) || errdefs.ClassOf(got) != class || got.Error() != sent.Error() {
			t.Errorf("%s came back as %s: %v", class, errdefs.ClassOf(got), got)
		}
		if reason, metadata := errdefs.Info(got); reason != "" || len(metadata) != 0 {
			t.Errorf("%s came back with a reason it never had: %q %v", class, reason, metadata)
		}
	}
}

func TestDetailsSurviveTheWire(t *testing.T) {
	t.Parallel()
	fields := []errdefs.FieldViolation{{Field: "spec.nqn", Description: "empty"}, {Field: "spec.psk", Description: "too short"}}
	got := errgrpc.FromError(errgrpc.ToStatus(errdefs.Invalid(fields)).Err())
	if !slices.Equal(errdefs.Fields(got), fields) {
		t.Errorf("fields: %v", errdefs.Fields(got))
	}

	precondition := errdefs.Precondition{Type: "IN_USE", Subject: "nvmeSubsystems/s0/nvmeNamespaces/n0", Description: "delete it first"}
	metadata := map[string]string{"method": "bdev_malloc_delete", "code": "-16"}
	for _, class := range []errdefs.Class{errdefs.FailedPrecondition, errdefs.OutcomeUnknown} {
		sent := errdefs.New(class, "in use").WithPrecondition(precondition).WithInfo("SPDK_ERROR", metadata)
		got := errgrpc.FromError(errgrpc.ToStatus(sent).Err())
		if !slices.Equal(errdefs.Preconditions(got), []errdefs.Precondition{precondition}) {
			t.Errorf("%s: preconditions: %v", class, errdefs.Preconditions(got))
		}
		reason, back := errdefs.Info(got)
		if reason != "SPDK_ERROR" || !maps.Equal(back, metadata) {
			t.Errorf("%s: info: %q %v", class, reason, back)
		}
	}
}

func TestOutcomeUnknownIsNamed(t *testing.T) {
	t.Parallel()
	st := errgrpc.ToStatus(errdefs.New(errdefs.OutcomeUnknown, "connection lost"))
	info, ok := st.Details()[0].(*errdetails.ErrorInfo)
	if !ok || info.GetReason() != "OUTCOME_UNKNOWN" || info.GetDomain() != "opi-bridge" {
		t.Errorf("details: %v", st.Details())
	}
}

func TestTransportErrorsAreOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	for code, cause := range map[codes.Code]error{
		codes.Unavailable: nil, codes.DeadlineExceeded: context.DeadlineExceeded, codes.Canceled: context.Canceled,
	} {
		got := errgrpc.FromError(status.Error(code, "transport"))
		if !errors.Is(got, errdefs.OutcomeUnknown) {
			t.Errorf("%v became %s", code, errdefs.ClassOf(got))
		}
		if cause != nil && !errors.Is(got, cause) {
			t.Errorf("%v lost its cause", code)
		}
	}
}

func TestStatusWithoutAClassIsPassedOn(t *testing.T) {
	t.Parallel()
	st := errgrpc.ToStatus(fmt.Errorf("proxy: %w", status.Error(codes.DataLoss, "torn")))
	if st.Code() != codes.DataLoss {
		t.Errorf("status: %v", st)
	}
	if st := errgrpc.ToStatus(errors.New("plain")); st.Code() != codes.Internal || st.Message() != "plain" {
		t.Errorf("status: %v", st)
	}
	if err := errgrpc.FromError(io.EOF); !errors.Is(err, io.EOF) {
		t.Errorf("an error that is no status became %v", err)
	}
}

// Whatever the text, a status can be sent: protobuf refuses invalid UTF-8, and headers have a limit.
func TestHostileTextIsBounded(t *testing.T) {
	t.Parallel()
	var fields []errdefs.FieldViolation
	for range 5000 {
		fields = append(fields, errdefs.FieldViolation{Field: "a\xff", Description: strings.Repeat("é", 4000)})
	}
	st := errgrpc.ToStatus(errdefs.Wrap(errdefs.InvalidArgument, errdefs.Invalid(fields), "bad \xfe"))
	if !utf8.ValidString(st.Message()) || len(st.Details()) != 2 {
		t.Fatalf("%d details, message %q", len(st.Details()), st.Message())
	}
	bad, ok := st.Details()[1].(*errdetails.BadRequest)
	if !ok || len(bad.GetFieldViolations()) > 64 {
		t.Errorf("%d violations in the status", len(bad.GetFieldViolations()))
	}
}
