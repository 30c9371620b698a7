// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/server"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/telemetry"
	"github.com/opi-bridge/opi-bridge/pkg/tlsconf"
)

// serve makes the bridge from valid settings and runs it until ctx ends.
func serve(ctx context.Context, s settings, logOutput io.Writer) error {
	log, err := telemetry.NewLogger(telemetry.LogConfig{Level: s.logLevel, Format: s.logFormat, Output: logOutput})
	if err != nil {
		return err
	}
	build := telemetry.ReadBuild(version)
	redis.LogTo(log)
	tracing, err := telemetry.NewTracing(ctx, telemetry.TraceConfig{
		Endpoint: s.traceCollector, Ratio: s.traceRatio,
		Service: "opi-bridge", Instance: s.instance, Version: build.Version, Log: log,
	})
	if err != nil {
		return err
	}
	b, err := assemble(ctx, s, log, build, tracing)
	if err == nil {
		log.LogAttrs(ctx, slog.LevelInfo, "opi-bridge",
			slog.String("version", build.Version), slog.String("instance", s.instance), slog.String("spdk", s.spdk))
		err = b.run(ctx)
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.drainTimeout)
	defer cancel()
	return errors.Join(err, tracing.Shutdown(ending))
}

// bridge is the parts of the program, put together.
type bridge struct {
	log    *slog.Logger
	store  store.Store
	parts  []part // in the order in which each needs the ones before
	server *server.Server
}

// assemble is the wiring: which kinds, driver and store there are, and who knows whom. It opens the
// store and the listeners and starts nothing.
func assemble(ctx context.Context, s settings, log *slog.Logger, build telemetry.Build, tracing *telemetry.Tracing) (*bridge, error) {
	registry := telemetry.NewRegistry("opi_bridge", build)
	dataPlaneCall, err := calls(registry, "opi_bridge_data_plane_call_duration_seconds",
		"Time from sending a call to the data plane to its answer, by method and class of error.", "method")
	if err != nil {
		return nil, err
	}
	storeCall, err := calls(registry, "opi_bridge_store_call_duration_seconds",
		"Time that a call of the store took, by operation and class of error.", "operation")
	if err != nil {
		return nil, err
	}

	card, err := s.newDriver(log, traced(tracing, dataPlaneCall))
	if err != nil {
		return nil, err
	}
	all, err := kinds.All()
	if err != nil {
		return nil, err
	}
	secure, err := s.tls(log)
	if err != nil {
		return nil, err
	}
	sealer, err := s.sealer()
	if err != nil {
		return nil, err
	}
	opened, err := openStore(s, build)
	if err != nil {
		return nil, err
	}
	lease := newTenure(store.Observed(opened, storeCall), s.holder(), log)
	eng, err := engine.New(engine.Config{
		Driver: fencedDataPlane{card, lease}, Store: lease, Kinds: all, Sealer: sealer, Log: log,
		AuditInterval: s.auditInterval, CheckID: s.idCheck(), Confirm: lease.valid, HostNQN: s.hostNQN("/"),
		ControllerIDs: s.controllerIDs,
	})
	if err != nil {
		return nil, errors.Join(err, lease.Close())
	}
	if err := registerCollectors(registry, s, eng, lease, log); err != nil {
		return nil, errors.Join(err, lease.Close())
	}
	cfg := server.Config{
		GRPCListen: s.grpcListen, HTTPListen: s.httpListen, HealthListen: s.healthListen, Insecure: s.insecure, TLS: secure,
		Register:     services(s, eng, lease, build),
		Ready:        ready(eng, lease),
		Limits:       server.Limits{RequestBytes: s.maxRequestBytes, InFlight: s.maxInFlight, PerSecond: s.maxPerSecond},
		DrainTimeout: s.drainTimeout,
		Version:      build.Version,
		Registry:     registry,
		Log:          log,
	}
	if s.httpListen == httpOff {
		cfg.HTTPListen = ""
	}
	if s.traceCollector != "" {
		cfg.Tracer = tracing
	}
	front, err := server.New(cfg)
	if err == nil {
		err = front.Listen(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, lease.Close())
	}
	return &bridge{
		log: log, store: lease, server: front,
		parts: []part{
			{"data plane", card.Run},
			{"lease", lease.Run},
			{"engine", eng.Run},
			{"server", front.Run},
		},
	}, nil
}

// run runs the bridge until ctx ends and closes what assemble has opened.
func (b *bridge) run(ctx context.Context) error {
	return errors.Join(runParts(ctx, b.log, b.parts), b.store.Close())
}

// tls returns the settings of the listeners, nil for plain text.
func (s *settings) tls(log *slog.Logger) (*tls.Config, error) {
	if s.tlsCert == "" {
		return nil, nil //nolint:nilnil // plain text is an answer, not an error
	}
	return tlsconf.Server(tlsconf.ServerConfig{CertFile: s.tlsCert, KeyFile: s.tlsKey, ClientCAFile: s.tlsClient, Log: log})
}

// holder returns the name under which this process holds the lease. No other process has it at the
// same time, for the address to listen on can be had once; and the process that follows it after a
// crash has it again, so that it need not wait.
func (s *settings) holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if strings.HasSuffix(s.grpcListen, ":0") {
		return host + "/" + uuid.NewString() // the kernel chooses the port, later
	}
	return host + "/" + s.grpcListen
}
