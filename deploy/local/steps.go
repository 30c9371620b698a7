// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// steps carries out a demonstration step by step, each with its outcome on a line. After the first
// failure nothing more is tried.
type steps struct {
	out   io.Writer
	count int
	err   error
}

// do carries out one step. What it returns is shown behind the step's title.
func (s *steps) do(ctx context.Context, title string, step func(context.Context) (string, error)) {
	if s.err != nil {
		return
	}
	s.count++
	fmt.Fprintf(s.out, "%2d  %-57s", s.count, title)
	begin := time.Now()
	detail, err := step(ctx)
	took := time.Since(begin).Round(time.Millisecond)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		s.err = fmt.Errorf("step %d, %s: %w", s.count, title, err)
		fmt.Fprintf(s.out, "FAILED after %v\n", took)
		return
	}
	if detail != "" {
		detail = "  " + detail
	}
	fmt.Fprintf(s.out, "ok %7v%s\n", took, detail)
}

// alone turns a step without detail into one that [steps.do] takes.
func alone(step func(context.Context) error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return "", step(ctx) }
}

// errDiffers is in the chain of the error of a disk that is not the one it was.
var errDiffers = errors.New("the disk is not the same disk any more")
