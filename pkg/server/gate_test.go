// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/server"
)

func TestPanicBecomesInternal(t *testing.T) {
	t.Parallel()
	r := start(t, func(cfg *server.Config) {
		cfg.Register = getting(func(context.Context, *pb.GetNullVolumeRequest) (*pb.NullVolume, error) { panic("a mistake") })
	})
	client := pb.NewNullVolumeServiceClient(r.dial(t))
	for range 2 {
		_, err := client.GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{Name: "nullVolumes/vol-0"})
		if !errors.Is(err, errdefs.Internal) || strings.Contains(err.Error(), "a mistake\n") {
			t.Errorf("got %v", err)
		}
	}
	if log := r.log.String(); !strings.Contains(log, "a mistake") || !strings.Contains(log, "gate_test.go") {
		t.Errorf("the log lacks panic or stack: %s", log)
	}
}

func TestLargeRequestsAreRefused(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	large := strings.Repeat("x", 10<<20)
	_, err := pb.NewAioVolumeServiceClient(r.dial(t)).CreateAioVolume(t.Context(),
		&pb.CreateAioVolumeRequest{AioVolume: &pb.AioVolume{Filename: large}})
	if !errors.Is(err, errdefs.ResourceExhausted) {
		t.Errorf("gRPC: %v", err)
	}
	code, answer := r.do(t, "POST", "/v1/aioVolumes", `{"filename": "`+large+`"}`)
	if code != http.StatusRequestEntityTooLarge || !strings.Contains(strings.ReplaceAll(answer, " ", ""), `"code":8`) {
		t.Errorf("REST: %d %.200s", code, answer)
	}
	if _, metrics := r.do(t, "GET", "/metrics", ""); !strings.Contains(metrics, `{code="ResourceExhausted",method="CreateAioVolume"`) {
		t.Error("the refused request is not in the metrics")
	}
}

// Requests beyond the limit are refused at once, over gRPC and REST alike, and health still answers.
func TestInFlightLimit(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, func(cfg *server.Config) {
		cfg.Limits.InFlight = 2
		cfg.Register = getting(func(context.Context, *pb.GetNullVolumeRequest) (*pb.NullVolume, error) {
			entered <- struct{}{}
			<-release
			return &pb.NullVolume{}, nil
		})
	})
	client := pb.NewNullVolumeServiceClient(r.dial(t))
	var served sync.WaitGroup
	for range 2 {
		served.Go(func() {
			if _, err := client.GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{}); err != nil {
				t.Errorf("within the limit: %v", err)
			}
		})
		<-entered
	}
	_, err := client.GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{})
	if reason, _ := errdefs.Info(err); !errors.Is(err, errdefs.ResourceExhausted) || reason != "IN_FLIGHT_LIMIT" {
		t.Errorf("gRPC beyond the limit: %v", err)
	}
	if code, answer := r.do(t, "GET", "/v1/nullVolumes/vol-0", ""); code != http.StatusTooManyRequests {
		t.Errorf("REST beyond the limit: %d %s", code, answer)
	}
	if state := check(t, r.dial(t), ""); state != "SERVING" {
		t.Errorf("health of a busy server: %s", state)
	}
	close(release)
	served.Wait()
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	r := start(t, func(cfg *server.Config) { cfg.Limits.PerSecond = 0.001 })
	client := pb.NewNullVolumeServiceClient(r.dial(t))
	var last error
	for range 2 {
		_, last = client.GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{Name: "nullVolumes/vol-0"})
	}
	if reason, _ := errdefs.Info(last); reason != "RATE_LIMIT" {
		t.Errorf("the second request in a moment: %v", last)
	}
}

func TestListenPolicy(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:50051", "127.8.8.8:0", "[::1]:1", "localhost:80"} {
		if err := server.CheckListen("gRPC", address, false); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{":50051", "0.0.0.0:50051", "[::]:1", "10.0.0.2:1", "example.org:1", "localhost.example.org:1"} {
		err := server.CheckListen("gRPC", address, false)
		if err == nil || !strings.Contains(err.Error(), "--insecure") || !strings.Contains(err.Error(), "--tls-cert") {
			t.Errorf("%s in plain text: %v", address, err)
		}
		if err := server.CheckListen("gRPC", address, true); err != nil {
			t.Errorf("%s secured: %v", address, err)
		}
	}
	for _, address := range []string{"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1", "127.0.0.1:http", "::1:5"} {
		if server.CheckListen("gRPC", address, true) == nil {
			t.Errorf("%q was taken", address)
		}
	}
}

// Everything that is wrong with the settings is said at once.
func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	_, err := server.New(server.Config{GRPCListen: "0.0.0.0:1", HTTPListen: "nonsense", Limits: server.Limits{InFlight: -1}})
	for _, part := range []string{"gRPC listen address", "HTTP listen address", "services", "readiness", "registry", "logger", "limits"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q: %v", part, err)
		}
	}
}
