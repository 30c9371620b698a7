// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := telemetry.NewLogger(telemetry.LogConfig{Level: "warn", Format: "json", Output: &out})
	if err != nil {
		t.Fatal(err)
	}
	log.InfoContext(t.Context(), "unheard")
	log.WarnContext(t.Context(), "heard", "resource", "mallocVolumes/m0")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["msg"] != "heard" || line["resource"] != "mallocVolumes/m0" {
		t.Errorf("log holds %q, want the one warning (%v)", out.String(), err)
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := telemetry.NewLogger(telemetry.LogConfig{Level: "loud", Output: &bytes.Buffer{}}); err == nil || !strings.Contains(err.Error(), "loud") {
		t.Errorf("level: %v", err)
	}
	if _, err := telemetry.NewLogger(telemetry.LogConfig{Format: "xml", Output: &bytes.Buffer{}}); err == nil || !strings.Contains(err.Error(), "xml") {
		t.Errorf("format: %v", err)
	}
	if _, err := telemetry.NewLogger(telemetry.LogConfig{}); err == nil {
		t.Error("a logger without output was made")
	}
	for _, endpoint := range []string{"127.0.0.1:4317", "http://host", "ftp://host:1", "http://", "\x00"} {
		if _, err := telemetry.NewTracing(t.Context(), telemetry.TraceConfig{Endpoint: endpoint}); err == nil {
			t.Errorf("collector %q was taken", endpoint)
		}
	}
	if _, err := telemetry.NewTracing(t.Context(), telemetry.TraceConfig{Endpoint: "http://127.0.0.1:1", Ratio: 2}); err == nil {
		t.Error("ratio 2 was taken")
	}
}

func TestRegistryHoldsTheBuild(t *testing.T) {
	t.Parallel()
	families, err := telemetry.NewRegistry("opi_bridge", telemetry.ReadBuild("v1.2.3")).Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, f := range families {
		names[f.GetName()] = f.String()
	}
	if !strings.Contains(names["opi_bridge_build_info"], "v1.2.3") || names["go_goroutines"] == "" {
		t.Errorf("registry holds %v", names)
	}
	if telemetry.ReadBuild("").Version == "" {
		t.Error("a build without a version")
	}
}

func TestTracingIsOffByDefault(t *testing.T) {
	t.Parallel()
	tracing, err := telemetry.NewTracing(t.Context(), telemetry.TraceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, span := tracing.Tracer("x").Start(t.Context(), "y"); span.IsRecording() {
		t.Error("a span is recorded without a collector")
	}
	if err := tracing.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// A collector that accepts connections and never says a word holds up neither spans nor the end.
func TestDeadCollectorCostsNothing(t *testing.T) {
	t.Parallel()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	tracing, err := telemetry.NewTracing(t.Context(), telemetry.TraceConfig{Endpoint: "http://" + silent.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		_, span := tracing.Tracer("x").Start(t.Context(), "y")
		span.End()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tracing.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
