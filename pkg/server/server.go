// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
)

// Server is the front door. Make one with [New], then [Server.Listen], then [Server.Run].
type Server struct {
	cfg      Config
	grpc     *grpc.Server
	draining chan struct{}

	grpcListener, httpListener, healthListener net.Listener
	pipe                                       *pipeListener
}

// New returns a server as cfg says, or everything that is wrong with cfg. It opens nothing.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	observer, err := newObserver(cfg.Log, cfg.Registry)
	if err != nil {
		return nil, fmt.Errorf("server metrics: %w", err)
	}
	options := []grpc.ServerOption{
		grpc.Creds(newCredentials(cfg.TLS)),
		grpc.MaxRecvMsgSize(cfg.Limits.RequestBytes),
		grpc.MaxConcurrentStreams(uint32(min(cfg.Limits.InFlight, 1<<20)) + maxStreams), //nolint:gosec // bounded on the spot
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.StatsHandler(observer),
	}
	if cfg.Tracer != nil {
		options = append(options, grpc.StatsHandler(otelgrpc.NewServerHandler(
			otelgrpc.WithTracerProvider(cfg.Tracer),
			otelgrpc.WithMeterProvider(noop.NewMeterProvider()), // Prometheus has the counters already
			otelgrpc.WithPropagators(propagation.TraceContext{}),
		)))
	}
	s := &Server{
		cfg:      cfg,
		grpc:     grpc.NewServer(append(options, newGate(cfg).options()...)...),
		draining: make(chan struct{}),
		pipe:     newPipeListener(),
	}
	if err := cfg.Register(s.grpc); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	healthpb.RegisterHealthServer(s.grpc, &health{ready: s.readiness, draining: s.draining, services: s.grpc.GetServiceInfo})
	reflection.Register(s.grpc)
	return s, nil
}

// Listen opens the listeners. Connections made from then on wait until Run.
func (s *Server) Listen(ctx context.Context) error {
	var lc net.ListenConfig
	var opened []net.Listener
	for _, l := range []struct {
		what, address string
		listener      *net.Listener
	}{
		{"gRPC", s.cfg.GRPCListen, &s.grpcListener},
		{"HTTP", s.cfg.HTTPListen, &s.httpListener},
		{"health", s.cfg.HealthListen, &s.healthListener},
	} {
		if l.address == "" {
			continue
		}
		listener, err := lc.Listen(ctx, "tcp", l.address)
		if err != nil {
			for _, other := range opened {
				_ = other.Close()
			}
			return fmt.Errorf("%s listener: %w", l.what, err)
		}
		*l.listener, opened = listener, append(opened, listener)
	}
	return nil
}

// GRPCAddr returns the address that gRPC is served at. Call it after Listen.
func (s *Server) GRPCAddr() string { return s.grpcListener.Addr().String() }

// HTTPAddr returns the address that HTTP is served at, "" if it is not. Call it after Listen.
func (s *Server) HTTPAddr() string { return addressOf(s.httpListener) }

// HealthAddr returns the address of the health listener, "" if there is none. Call it after Listen.
func (s *Server) HealthAddr() string { return addressOf(s.healthListener) }

func addressOf(listener net.Listener) string {
	if listener == nil {
		return ""
	}
	return listener.Addr().String()
}

// Run serves until ctx ends, then lets the requests under way end, no longer than the configured
// time, and returns nil. It returns an error when a listener fails. Call it once, after Listen.
func (s *Server) Run(ctx context.Context) error {
	// The gateway calls the gRPC server; requests that it passes on live as long as their HTTP
	// request, so its connection outlasts ctx and is closed by drain.
	conn, err := grpc.NewClient("passthrough:///in-process",
		grpc.WithContextDialer(s.pipe.dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(withoutEmptyMask),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswerBytes)),
	)
	if err != nil {
		return fmt.Errorf("in-process connection: %w", err)
	}
	gateway, err := newGateway(context.WithoutCancel(ctx), conn)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	web, err := s.newHTTP(gateway)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return serving("gRPC", s.grpc.Serve(s.grpcListener)) })
	group.Go(func() error { return serving("in-process", s.grpc.Serve(s.pipe)) })
	if s.httpListener != nil {
		group.Go(func() error {
			if s.cfg.TLS != nil {
				return serving("HTTP", web.ServeTLS(s.httpListener, "", ""))
			}
			return serving("HTTP", web.Serve(s.httpListener))
		})
	}
	probe := s.newProbe()
	if s.healthListener != nil {
		group.Go(func() error { return serving("health", probe.Serve(s.healthListener)) })
	}
	s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "listening", slog.String("grpc", s.GRPCAddr()), slog.String("http", s.HTTPAddr()),
		slog.String("health", s.HealthAddr()), slog.Bool("tls", s.cfg.TLS != nil))
	group.Go(func() error {
		<-groupCtx.Done()
		return s.drain(context.WithoutCancel(ctx), []*http.Server{web, probe}, conn)
	})
	return group.Wait()
}

// maxAnswerBytes bounds what the gateway takes from the services: a page of the largest size fits
// many times over.
const maxAnswerBytes = 64 << 20

// serving turns the ways in which a listener ends on purpose into nil.
func serving(what string, err error) error {
	if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("%s listener: %w", what, err)
}

// drain ends everything: new requests are refused, those under way may end, and what has not ended in
// time is cut off.
func (s *Server) drain(ctx context.Context, webs []*http.Server, conn *grpc.ClientConn) error {
	close(s.draining)
	s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "draining", slog.Duration("at_most", s.cfg.DrainTimeout))
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, web := range webs {
			if err := web.Shutdown(ctx); err != nil {
				_ = web.Close()
			}
		}
		_ = conn.Close()
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "requests under way were cut off")
		s.grpc.Stop()
		<-done
	}
	return nil
}
