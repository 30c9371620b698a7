// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

func TestCallsToTheDataPlaneAreSpansOfTheirRequest(t *testing.T) {
	ended := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(ended))
	noted := 0
	observe := traced(provider, func(string, time.Duration, error) { noted++ })

	ctx, request := provider.Tracer("test").Start(t.Context(), "CreateNullVolume")
	observe(ctx, "bdev_null_create", 8*time.Millisecond, nil)
	observe(ctx, "bdev_get_bdevs", time.Millisecond, errdefs.New(errdefs.NotFound, "psk=hush"))
	observe(t.Context(), "notify_get_notifications", time.Millisecond, nil)
	request.End()

	spans := ended.Ended()
	if len(spans) != 3 || noted != 3 {
		t.Fatalf("%d spans, %d calls noted, want 3 of both", len(spans), noted)
	}
	for i, name := range []string{"bdev_null_create", "bdev_get_bdevs"} {
		if s := spans[i]; s.Name() != name || s.Parent().SpanID() != request.SpanContext().SpanID() {
			t.Errorf("span %d is %q below %v", i, s.Name(), s.Parent().SpanID())
		}
	}
	if took := spans[0].EndTime().Sub(spans[0].StartTime()); took != 8*time.Millisecond {
		t.Errorf("the call took %v", took)
	}
	if status := spans[1].Status(); strings.Contains(status.Description, "hush") || status.Description != string(errdefs.NotFound) {
		t.Errorf("status %+v", status)
	}
}

// BenchmarkCallWithoutTracing shows what a call costs to observe when nothing is traced.
func BenchmarkCallWithoutTracing(b *testing.B) {
	observe := traced(noop.NewTracerProvider(), func(string, time.Duration, error) {})
	b.ReportAllocs()
	for b.Loop() {
		observe(context.Background(), "bdev_null_create", time.Millisecond, nil)
	}
}
