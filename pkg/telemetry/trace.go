// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// TraceConfig says where spans go. The zero value traces nothing.
type TraceConfig struct {
	// Endpoint is the OTLP/gRPC collector: http://host:port in plain text, https://host:port with
	// TLS. Empty means that nothing is traced.
	Endpoint string
	// Ratio is the share of new traces that are recorded, above 0 to 1; 0 means 1. A caller's own
	// decision, which comes with the request, wins.
	Ratio float64
	// Service, Instance and Version name the process in every span.
	Service, Instance, Version string
	// Log is told, at Warn once and at Debug after that, when the collector does not take spans.
	Log *slog.Logger
}

// Bounds of the export. Spans wait in a queue off the request path; when the collector is dead or
// slow the queue fills and further spans are dropped, which is all that it costs.
const (
	exportTimeout = 5 * time.Second
	exportQueue   = 2048
)

// Tracing is a tracer provider and its end.
type Tracing struct {
	trace.TracerProvider
	shutdown func(context.Context) error
}

// NewTracing returns a provider as cfg says. It does not wait for the collector, nor need it to be
// there. Call Shutdown at the end.
func NewTracing(ctx context.Context, cfg TraceConfig) (*Tracing, error) {
	if cfg.Endpoint == "" {
		return &Tracing{TracerProvider: noop.NewTracerProvider(), shutdown: func(context.Context) error { return nil }}, nil
	}
	if err := CheckEndpoint(cfg.Endpoint); err != nil {
		return nil, err
	}
	if cfg.Ratio < 0 || cfg.Ratio > 1 {
		return nil, fmt.Errorf("trace ratio %v: want a number from 0 to 1", cfg.Ratio)
	}
	if cfg.Ratio == 0 {
		cfg.Ratio = 1
	}
	exporter, err := otlptracegrpc.New(ctx,
		otlptracegrpc.WithEndpointURL(cfg.Endpoint),
		otlptracegrpc.WithTimeout(exportTimeout),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: false}),
	)
	if err != nil {
		return nil, fmt.Errorf("trace collector %s: %w", cfg.Endpoint, err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&quiet{SpanExporter: exporter, log: cfg.Log},
			sdktrace.WithMaxQueueSize(exportQueue), sdktrace.WithExportTimeout(exportTimeout)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.Ratio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", cfg.Service),
			attribute.String("service.instance.id", cfg.Instance),
			attribute.String("service.version", cfg.Version),
		)),
	)
	return &Tracing{TracerProvider: provider, shutdown: provider.Shutdown}, nil
}

// CheckEndpoint says what is wrong with the URL of a collector, nil if nothing.
func CheckEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Port() == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("trace collector %q: want http://host:port or https://host:port", endpoint)
	}
	return nil
}

// Shutdown sends what still waits, as long as ctx allows, and ends the provider's goroutines.
func (t *Tracing) Shutdown(ctx context.Context) error {
	if err := t.shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("end tracing: %w", err)
	}
	return nil
}

// quiet is an exporter whose failures are reported to the log, and no further: the SDK would print
// them to standard error, once per batch.
type quiet struct {
	sdktrace.SpanExporter
	log    *slog.Logger
	failed atomic.Bool
}

// ExportSpans implements the SDK's exporter.
func (q *quiet) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := q.SpanExporter.ExportSpans(ctx, spans)
	if q.log == nil {
		return nil
	}
	switch {
	case err == nil:
		if q.failed.Swap(false) {
			q.log.LogAttrs(ctx, slog.LevelInfo, "trace collector takes spans again")
		}
	case q.failed.Swap(true):
		q.log.LogAttrs(ctx, slog.LevelDebug, "trace collector still does not take spans", slog.Any("err", err), slog.Int("spans", len(spans)))
	default:
		q.log.LogAttrs(ctx, slog.LevelWarn, "trace collector does not take spans, they are dropped", slog.Any("err", err), slog.Int("spans", len(spans)))
	}
	return nil
}
