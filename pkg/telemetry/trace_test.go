// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/opi-bridge/opi-bridge/pkg/telemetry"
)

// collector takes spans as an OTLP collector does and passes on their names.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer
	names chan string
}

func (c *collector) Export(_ context.Context, req *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	for _, r := range req.GetResourceSpans() {
		for _, s := range r.GetScopeSpans() {
			for _, span := range s.GetSpans() {
				c.names <- span.GetName()
			}
		}
	}
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

// Spans that still wait at the end are sent.
func TestSpansReachTheCollector(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	taken := &collector{names: make(chan string, 10)}
	collectorpb.RegisterTraceServiceServer(server, taken)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	tracing, err := telemetry.NewTracing(t.Context(), telemetry.TraceConfig{Endpoint: "http://" + listener.Addr().String(), Service: "test"})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracing.Tracer("x").Start(t.Context(), "create a disk")
	span.End()
	if err := tracing.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if name := <-taken.names; name != "create a disk" {
		t.Errorf("the collector got %q", name)
	}
	server.Stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A collector that is away is named in the log, once.
func TestAbsentCollectorIsLogged(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	tracing, err := telemetry.NewTracing(t.Context(), telemetry.TraceConfig{
		Endpoint: "http://127.0.0.1:1", Log: slog.New(slog.NewTextHandler(&out, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 { // several batches
		_, span := tracing.Tracer("x").Start(t.Context(), "y")
		span.End()
	}
	if err := tracing.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n := strings.Count(out.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, out.String())
	}
}
