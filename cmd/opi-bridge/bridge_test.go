// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs/errgrpc"
	"github.com/opi-bridge/opi-bridge/pkg/server"
	"github.com/opi-bridge/opi-bridge/pkg/telemetry"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// bridgeUnderTest is a whole bridge in this process, and a client of it.
type bridgeUnderTest struct {
	*bridge
	conn *grpc.ClientConn
	stop func()
}

// startBridge starts a bridge with defaults for what args leave alone.
func startBridge(t *testing.T, args ...string) *bridgeUnderTest {
	t.Helper()
	s, err := load(t, append([]string{"--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--audit-interval=1s"}, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	tracing, err := telemetry.NewTracing(t.Context(), telemetry.TraceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := assemble(t.Context(), s, slog.New(slog.DiscardHandler), telemetry.ReadBuild("test"), tracing)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.run(ctx) }()
	conn, err := grpc.NewClient(b.server.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(errgrpc.UnaryClient))
	if err != nil {
		t.Fatal(err)
	}
	u := &bridgeUnderTest{bridge: b, conn: conn}
	stopped := false
	u.stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = conn.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the bridge ended with %v", err)
		}
	}
	t.Cleanup(u.stop)
	return u
}

// readyz returns what /readyz says.
func (u *bridgeUnderTest) readyz(t *testing.T) server.Readiness {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+u.server.HTTPAddr()+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var r server.Readiness
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// await waits until exactly the parts named are not ready, as /readyz and the health service say.
func (u *bridgeUnderTest) await(t *testing.T, missing ...string) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("what is missing is %q", missing), func() error {
		var away []string
		r := u.readyz(t)
		for _, p := range r.Parts {
			if !p.Ready {
				away = append(away, p.Name)
			}
		}
		if strings.Join(away, ",") != strings.Join(missing, ",") || r.Ready != (len(missing) == 0) {
			return fmt.Errorf("/readyz says %+v", r)
		}
		health, err := healthpb.NewHealthClient(u.conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil {
			return err
		}
		if (health.GetStatus() == healthpb.HealthCheckResponse_SERVING) != r.Ready {
			return fmt.Errorf("health says %s", health.GetStatus())
		}
		return nil
	})
}

func (u *bridgeUnderTest) create(t *testing.T, id string) error {
	t.Helper()
	_, err := pb.NewMallocVolumeServiceClient(u.conn).CreateMallocVolume(t.Context(), &pb.CreateMallocVolumeRequest{
		MallocVolumeId: id, MallocVolume: &pb.MallocVolume{BlockSize: 512, BlocksCount: 2048},
	})
	return err
}

func (u *bridgeUnderTest) get(t *testing.T, id string) error {
	t.Helper()
	_, err := pb.NewMallocVolumeServiceClient(u.conn).GetMallocVolume(t.Context(), &pb.GetMallocVolumeRequest{Name: "mallocVolumes/" + id})
	return err
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, errdefs.Unavailable) {
		t.Errorf("%s: %v, want Unavailable", what, err)
	}
}

// Neither data plane nor Redis are there at the start; they come, go and come back. The bridge stays,
// says what is missing, and answers UNAVAILABLE to what it cannot do.
func TestPartsComeAndGo(t *testing.T) {
	t.Parallel()
	redis := testkit.Redis(t)
	redis.Kill()
	plane := testkit.DataPlane(t)
	plane.Kill()

	u := startBridge(t, "--store=redis://"+redis.Addr()+"/0", "--spdk=unix://"+plane.Socket())
	u.await(t, "data plane", "store", "lease")
	wantUnavailable(t, "create without anything", u.create(t, "vol-1"))
	wantUnavailable(t, "get without anything", u.get(t, "vol-1"))

	redis.Start()
	u.await(t, "data plane")
	wantUnavailable(t, "create without data plane", u.create(t, "vol-1"))
	if err := u.get(t, "vol-1"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("a create that was refused left something: %v", err)
	}

	plane.Start()
	u.await(t)
	if err := u.create(t, "vol-1"); err != nil {
		t.Fatal(err)
	}

	redis.Kill()
	u.await(t, "store")
	wantUnavailable(t, "create without store", u.create(t, "vol-2"))
	if err := u.get(t, "vol-1"); err != nil {
		t.Errorf("get without store: %v", err)
	}
	redis.Start()
	u.await(t)

	plane.Kill()
	u.await(t, "data plane")
	wantUnavailable(t, "create without data plane", u.create(t, "vol-3"))
	plane.Start()
	u.await(t)
	if _, err := pb.NewMallocVolumeServiceClient(u.conn).StatsMallocVolume(t.Context(), &pb.StatsMallocVolumeRequest{Name: "mallocVolumes/vol-1"}); err != nil {
		t.Errorf("the volume is not back in the data plane: %v", err)
	}
}

// The same file, a second bridge: the first is not disturbed, the second says why it cannot start.
// When the first has ended, the next one has its records.
func TestRestartKeepsRecords(t *testing.T) {
	t.Parallel()
	plane := testkit.DataPlane(t)
	args := []string{"--store=bolt://" + t.TempDir() + "/state.db", "--spdk=unix://" + plane.Socket()}
	first := startBridge(t, args...)
	first.await(t)
	if err := first.create(t, "vol-1"); err != nil {
		t.Fatal(err)
	}

	s, err := load(t, append([]string{"--grpc-listen=127.0.0.1:0", "--http-listen=off"}, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = assemble(t.Context(), s, slog.New(slog.DiscardHandler), telemetry.Build{}, &telemetry.Tracing{TracerProvider: noop.NewTracerProvider()})
	if !errors.Is(err, errdefs.FailedPrecondition) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second bridge on one file: %v", err)
	}

	first.stop()
	second := startBridge(t, args...)
	second.await(t)
	if err := second.get(t, "vol-1"); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

// Two bridges on one Redis: the second stands by and goes on when the first has ended.
func TestStandby(t *testing.T) {
	t.Parallel()
	redis := testkit.Redis(t)
	plane := testkit.DataPlane(t)
	args := []string{"--store=redis://" + redis.Addr() + "/0", "--spdk=unix://" + plane.Socket(), "--instance=dpu-1"}
	first := startBridge(t, args...)
	first.await(t)
	second := startBridge(t, args...)
	second.await(t, "store", "lease")
	wantUnavailable(t, "create at the standby", second.create(t, "vol-1"))
	if err := first.create(t, "vol-1"); err != nil {
		t.Fatal(err)
	}
	first.stop()
	second.await(t)
	if err := second.get(t, "vol-1"); err != nil {
		t.Errorf("at the bridge that took over: %v", err)
	}
}

// run ends on its own words: with an error that says which settings are wrong, and quietly when its
// context ends.
func TestRun(t *testing.T) {
	t.Parallel()
	none := func(string) (string, bool) { return "", false }
	var out, logged strings.Builder
	err := run(t.Context(), []string{"serve", "--spdk=nowhere"}, none, &out, &logged)
	if err == nil || !strings.Contains(err.Error(), "--spdk") {
		t.Errorf("%v", err)
	}
	if err := run(t.Context(), []string{"version"}, none, &out, &logged); err != nil || !strings.HasPrefix(out.String(), "opi-bridge ") {
		t.Errorf("version: %q, %v", out.String(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := &watchedLog{word: `"msg":"lease acquired"`, then: cancel}
	err = run(ctx, []string{
		"serve", "--grpc-listen=127.0.0.1:0", "--http-listen=off", "--log-format=json",
		"--store=bolt://" + t.TempDir() + "/state.db", "--spdk=unix:///does/not/exist",
	}, none, &out, seen)
	if err != nil || !strings.Contains(seen.text.String(), `"msg":"draining"`) {
		t.Errorf("%v\n%s", err, seen.text.String())
	}
}

// watchedLog keeps a log and calls then when a word stands in it. One goroutine writes at a time.
type watchedLog struct {
	text strings.Builder
	word string
	then func()
}

func (w *watchedLog) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.word) {
		w.then()
	}
	return w.text.Write(p)
}
