// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/server"
)

func check(t testing.TB, conn *grpc.ClientConn, service string) string {
	t.Helper()
	resp, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		return err.Error()
	}
	return resp.GetStatus().String()
}

func TestHealthFollowsReadiness(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	conn := r.dial(t)
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	const service = "opi_api.storage.v1.NullVolumeService"
	for _, step := range []struct {
		ready bool
		state string
		code  int
	}{{true, "SERVING", http.StatusOK}, {false, "NOT_SERVING", http.StatusServiceUnavailable}, {true, "SERVING", http.StatusOK}} {
		r.ready.Store(step.ready)
		if all, one := check(t, conn, ""), check(t, conn, service); all != step.state || one != step.state {
			t.Errorf("health is %s, of one service %s; want %s", all, one, step.state)
		}
		code, answer := r.do(t, "GET", "/readyz", "")
		if code != step.code || !strings.Contains(answer, `"data plane"`) {
			t.Errorf("/readyz: %d %s", code, answer)
		}
		if seen, err := watch.Recv(); err != nil || seen.GetStatus().String() != step.state {
			t.Errorf("watch saw %v, %v; want %s", seen, err, step.state)
		}
	}
	if state := check(t, conn, "no.such.Service"); !strings.Contains(state, "not served") {
		t.Errorf("health of a service that is none: %s", state)
	}
	list, err := healthpb.NewHealthClient(conn).List(t.Context(), &healthpb.HealthListRequest{})
	if err != nil || list.GetStatuses()[service].GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("list: %v, %v", list, err)
	}
	if code, _ := r.do(t, "GET", "/healthz", ""); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
}

func TestReflectionTellsTheServices(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	stream, err := reflectionpb.NewServerReflectionClient(r.dial(t)).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, request := range []*reflectionpb.ServerReflectionRequest{
		{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}},
		{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "opi_api.storage.v1.FrontendNvmeService"}},
	} {
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil || answer.GetErrorResponse() != nil || !strings.Contains(answer.String(), "FrontendNvmeService") {
			t.Errorf("%v: %v", answer, err)
		}
	}
}

// At the end, a request under way is served to its end, over gRPC and REST, and new ones are refused.
func TestDrainLetsRequestsEnd(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, func(cfg *server.Config) {
		cfg.Register = getting(func(context.Context, *pb.GetNullVolumeRequest) (*pb.NullVolume, error) {
			entered <- struct{}{}
			<-release
			return &pb.NullVolume{Name: "nullVolumes/vol-0"}, nil
		})
	})
	conn := r.dial(t)
	overGRPC, overREST, stopped := make(chan error, 1), make(chan int, 1), make(chan error, 1)
	go func() {
		_, err := pb.NewNullVolumeServiceClient(conn).GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{})
		overGRPC <- err
	}()
	<-entered
	go func() {
		code, _ := r.do(t, "GET", "/v1/nullVolumes/vol-0", "")
		overREST <- code
	}()
	<-entered
	go func() { stopped <- r.stop() }()
	eventually(t, "the server drains", func() bool { return strings.Contains(r.log.String(), "draining") })
	close(release)
	if err := <-overGRPC; err != nil {
		t.Errorf("gRPC request under way: %v", err)
	}
	if code := <-overREST; code != http.StatusOK {
		t.Errorf("REST request under way: %d", code)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := pb.NewNullVolumeServiceClient(conn).GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{}); err == nil {
		t.Error("a server that has ended answers")
	}
}

// A request that does not end is cut off when the time is over, and a watch does not hold anything up.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	r := start(t, func(cfg *server.Config) {
		cfg.DrainTimeout = 50 * time.Millisecond
		cfg.Register = getting(func(ctx context.Context, _ *pb.GetNullVolumeRequest) (*pb.NullVolume, error) {
			close(entered)
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	conn := r.dial(t)
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := pb.NewNullVolumeServiceClient(conn).GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{})
		answered <- err
	}()
	<-entered
	if err := r.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := <-answered; !errors.Is(err, errdefs.OutcomeUnknown) {
		t.Errorf("the request that was cut off: %v", err)
	}
	var last string
	for {
		resp, err := watch.Recv()
		if err != nil {
			break
		}
		last = resp.GetStatus().String()
	}
	if last != "NOT_SERVING" {
		t.Errorf("the watch ended with %s", last)
	}
}

func TestListenErrorsNameTheListener(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	second, err := server.New(configOf(r.GRPCAddr()))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), "gRPC listener") {
		t.Errorf("listening twice at one address: %v", err)
	}
}
