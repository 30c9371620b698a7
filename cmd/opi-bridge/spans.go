// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// traced returns a function that notes a call to the data plane which has ended, and makes it a span below
// the request that it was made for. A call made for no traced request, such as those that look for news
// five times a second, is none. Parameters and texts of errors are left out: they may tell secrets.
func traced(provider trace.TracerProvider, note func(method string, took time.Duration, err error)) func(context.Context, string, time.Duration, error) {
	tracer := provider.Tracer("github.com/opi-bridge/opi-bridge")
	return func(ctx context.Context, method string, took time.Duration, err error) {
		note(method, took, err)
		if !trace.SpanContextFromContext(ctx).IsSampled() {
			return
		}
		end := time.Now()
		_, span := tracer.Start(ctx, method, trace.WithTimestamp(end.Add(-took)), trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(attribute.String("rpc.system", "jsonrpc"), attribute.String("rpc.method", method)))
		if err != nil {
			span.SetStatus(codes.Error, string(errdefs.ClassOf(err)))
		}
		span.End(trace.WithTimestamp(end))
	}
}
