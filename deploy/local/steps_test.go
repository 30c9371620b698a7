// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestNothingIsTriedAfterAFailedStep(t *testing.T) {
	var out strings.Builder
	s := &steps{out: &out}
	broken := errors.New("broken")
	s.do(t.Context(), "first", func(context.Context) (string, error) { return "detail", nil })
	s.do(t.Context(), "second", alone(func(context.Context) error { return broken }))
	s.do(t.Context(), "third", alone(func(context.Context) error {
		t.Error("the third step was tried")
		return nil
	}))
	if !errors.Is(s.err, broken) || !strings.Contains(s.err.Error(), "step 2, second") {
		t.Errorf("the failure is %v", s.err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "ok") || !strings.HasSuffix(lines[0], "detail") || !strings.Contains(lines[1], "FAILED") {
		t.Errorf("what was printed:\n%s", out.String())
	}
}

func TestAStepThatOutlivesItsContextHasFailed(t *testing.T) {
	s := &steps{out: &strings.Builder{}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.do(ctx, "late", func(context.Context) (string, error) { return "", nil })
	if !errors.Is(s.err, context.Canceled) {
		t.Errorf("the failure is %v", s.err)
	}
}
