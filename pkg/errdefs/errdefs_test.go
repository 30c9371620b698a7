// SPDX-License-Identifier: Apache-2.0

package errdefs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

func TestClassIsFoundAnywhereInAChain(t *testing.T) {
	inner := errdefs.Wrap(errdefs.Unavailable, io.EOF, "no answer")
	outer := fmt.Errorf("creating: %w", errdefs.Wrap(errdefs.Internal, inner, "cannot go on"))
	if !errors.Is(outer, errdefs.Unavailable) || !errors.Is(outer, errdefs.Internal) || !errors.Is(outer, io.EOF) || errors.Is(outer, errdefs.NotFound) {
		t.Errorf("classes of %v are not found as they are", outer)
	}
	for _, row := range []struct {
		err  error
		want errdefs.Class
	}{
		{nil, ""},
		{outer, errdefs.Internal},
		{inner, errdefs.Unavailable},
		{io.EOF, errdefs.Internal},
		{fmt.Errorf("x: %w", errdefs.NotFound), errdefs.NotFound},
		{context.DeadlineExceeded, errdefs.DeadlineExceeded},
		{fmt.Errorf("x: %w", context.Canceled), errdefs.Canceled},
		{errors.Join(io.EOF, errdefs.New(errdefs.Aborted, "a")), errdefs.Aborted},
	} {
		if got := errdefs.ClassOf(row.err); got != row.want {
			t.Errorf("%v: class %q, want %q", row.err, got, row.want)
		}
	}
	if got := outer.Error(); got != "creating: cannot go on: no answer: EOF" {
		t.Errorf("text %q", got)
	}
}

func TestDetails(t *testing.T) {
	if err := errdefs.Invalid(nil); err != nil {
		t.Errorf("no violations make %v", err)
	}
	err := fmt.Errorf("create: %w", errdefs.Invalid([]errdefs.FieldViolation{{Field: "a", Description: "must be b"}, {Field: "c", Description: "d"}}))
	if len(errdefs.Fields(err)) != 2 || !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("fields %v", errdefs.Fields(err))
	}
	low := errdefs.New(errdefs.Internal, "low").WithInfo("LOW", map[string]string{"code": "-1"})
	high := errdefs.Wrap(errdefs.Unavailable, low, "high").WithPrecondition(errdefs.Precondition{Type: "IN_USE", Subject: "s"})
	if reason, md := errdefs.Info(high); reason != "LOW" || md["code"] != "-1" {
		t.Errorf("info %s %v", reason, md)
	}
	if p := errdefs.Preconditions(errors.Join(io.EOF, high)); len(p) != 1 || p[0].Subject != "s" {
		t.Errorf("preconditions %v", p)
	}
}

func TestRenameFields(t *testing.T) {
	inner := errdefs.InvalidField("size", "must be set")
	err := fmt.Errorf("create: %w", errdefs.RenameFields(inner, func(p string) string { return "volume." + p }))
	if f := errdefs.Fields(err); len(f) != 1 || f[0].Field != "volume.size" || f[0].Description != "must be set" {
		t.Errorf("fields %v", f)
	}
	if !errors.Is(err, errdefs.InvalidArgument) || errdefs.ClassOf(err) != errdefs.InvalidArgument {
		t.Errorf("class of %v is lost", err)
	}
	if errdefs.RenameFields(nil, nil) != nil || !errors.Is(errdefs.RenameFields(io.EOF, nil), io.EOF) {
		t.Error("errors without fields must stay as they are")
	}
}
