// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	inventorypb "github.com/opiproject/opi-api/inventory/v1/gen/go"
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs/errgrpc"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/server"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bare is an engine without kinds: every method of the API answers UNIMPLEMENTED.
type bare struct{ api.Engine }

func (bare) Kinds() []*resource.Kind { return nil }

func bareAPI(r grpc.ServiceRegistrar) error {
	bridgev1.RegisterBridgeServiceServer(r, bridgev1.UnimplementedBridgeServiceServer{})
	inventorypb.RegisterInventoryServiceServer(r, inventorypb.UnimplementedInventoryServiceServer{})
	return api.Register(r, bare{})
}

// volumes is a service whose Get and Update do what the test wants.
type volumes struct {
	pb.UnimplementedNullVolumeServiceServer
	get    func(context.Context, *pb.GetNullVolumeRequest) (*pb.NullVolume, error)
	update func(*pb.UpdateNullVolumeRequest)
}

func (v volumes) GetNullVolume(ctx context.Context, req *pb.GetNullVolumeRequest) (*pb.NullVolume, error) {
	return v.get(ctx, req)
}

func (v volumes) UpdateNullVolume(_ context.Context, req *pb.UpdateNullVolumeRequest) (*pb.NullVolume, error) {
	v.update(req)
	return req.GetNullVolume(), nil
}

// updating shows the requests to update a null volume.
func updating(update func(*pb.UpdateNullVolumeRequest)) func(grpc.ServiceRegistrar) error {
	return func(r grpc.ServiceRegistrar) error {
		pb.RegisterNullVolumeServiceServer(r, volumes{update: update})
		return nil
	}
}

func getting(get func(context.Context, *pb.GetNullVolumeRequest) (*pb.NullVolume, error)) func(grpc.ServiceRegistrar) error {
	return func(r grpc.ServiceRegistrar) error {
		pb.RegisterNullVolumeServiceServer(r, volumes{get: get})
		return nil
	}
}

// running is a server under test.
type running struct {
	*server.Server
	ready *atomic.Bool
	log   *buffer
	stop  func() error // ends it and returns what Run returned
}

// start runs a server with defaults for what change leaves alone.
func start(t testing.TB, change func(*server.Config)) *running {
	t.Helper()
	r := &running{ready: &atomic.Bool{}, log: &buffer{}}
	r.ready.Store(true)
	cfg := server.Config{
		GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0",
		Register: bareAPI,
		Ready: func() server.Readiness {
			return server.Readiness{Ready: r.ready.Load(), Parts: []server.Part{{Name: "data plane", Ready: r.ready.Load(), Detail: "test"}}}
		},
		Registry: prometheus.NewRegistry(),
		Log:      slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.Server, err = server.New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := r.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

// dial returns a client whose errors are of package errdefs.
func (r *running) dial(t testing.TB, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	if len(options) == 0 {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	options = append(options, grpc.WithUnaryInterceptor(errgrpc.UnaryClient), grpc.WithStreamInterceptor(errgrpc.StreamClient))
	conn, err := grpc.NewClient(r.GRPCAddr(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// do makes an HTTP request and returns the status code and body of the answer.
func (r *running) do(t testing.TB, method, path, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.HTTPAddr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return roundTrip(t, &http.Transport{DisableKeepAlives: true}, req)
}

func roundTrip(t testing.TB, transport *http.Transport, req *http.Request) (int, string) {
	t.Helper()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// eventually waits until ok, as long as it takes but not for ever.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never happened: %s", what)
		}
	}
}

// buffer is a bytes.Buffer that several goroutines may use.
type buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// configOf returns a complete configuration for that address.
func configOf(address string) server.Config {
	return server.Config{
		GRPCListen: address, Register: bareAPI, Ready: func() server.Readiness { return server.Readiness{} },
		Registry: prometheus.NewRegistry(), Log: quiet(),
	}
}

// quiet is a log that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
