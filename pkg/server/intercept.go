// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs/errgrpc"
)

// maxStreams bounds the streams (health watches, reflection) that are open at the same time.
const maxStreams = 256

// gate is what stands before every handler, in this order: errors become status, panics become
// errors, limits, authorization.
type gate struct {
	log       *slog.Logger
	limits    Limits
	inFlight  chan struct{}
	streams   chan struct{}
	rate      *rate.Limiter // nil without a limit
	authorize func(context.Context, Caller, string) error
}

func newGate(cfg Config) *gate {
	g := &gate{
		log:       cfg.Log,
		limits:    cfg.Limits,
		inFlight:  make(chan struct{}, cfg.Limits.InFlight),
		streams:   make(chan struct{}, maxStreams),
		authorize: cfg.Authorize,
	}
	if cfg.Limits.PerSecond > 0 {
		g.rate = rate.NewLimiter(rate.Limit(cfg.Limits.PerSecond), max(1, int(cfg.Limits.PerSecond)))
	}
	return g
}

// options installs the gate in a gRPC server.
func (g *gate) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(errgrpc.UnaryServer, g.unary),
		grpc.ChainStreamInterceptor(errgrpc.StreamServer, g.stream),
	}
}

func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer g.recovered(ctx, info.FullMethod, &err)
	if !exempt(info.FullMethod) {
		release, err := g.enter(g.inFlight)
		if err != nil {
			return nil, err
		}
		defer release()
		if err := g.allowed(ctx, info.FullMethod); err != nil {
			return nil, err
		}
	}
	return handler(ctx, req)
}

func (g *gate) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer g.recovered(stream.Context(), info.FullMethod, &err)
	release, err := g.enter(g.streams)
	if err != nil {
		return err
	}
	defer release()
	if !exempt(info.FullMethod) {
		if err := g.allowed(stream.Context(), info.FullMethod); err != nil {
			return err
		}
	}
	return handler(srv, stream)
}

// exempt says whether a method is answered however busy the server is, to whomever.
func exempt(method string) bool { return strings.HasPrefix(method, "/grpc.health.v1.Health/") }

// enter takes a place, to be released when the request has ended.
func (g *gate) enter(places chan struct{}) (release func(), err error) {
	if g.rate != nil && !g.rate.Allow() {
		return nil, errdefs.New(errdefs.ResourceExhausted, "more than %v requests a second: try again later", g.limits.PerSecond).
			WithInfo("RATE_LIMIT", nil)
	}
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		return nil, errdefs.New(errdefs.ResourceExhausted, "%d requests are being served already: try again later", cap(places)).
			WithInfo("IN_FLIGHT_LIMIT", nil)
	}
}

func (g *gate) allowed(ctx context.Context, method string) error {
	if g.authorize == nil {
		return nil
	}
	return g.authorize(ctx, callerOf(ctx), method)
}

// recovered turns a panic of a handler into an error. The stack goes to the log only.
func (g *gate) recovered(ctx context.Context, method string, err *error) {
	cause := recover()
	if cause == nil {
		return
	}
	g.log.LogAttrs(ctx, slog.LevelError, "a handler panicked",
		slog.String("method", method), slog.String("panic", fmt.Sprint(cause)), slog.String("stack", string(debug.Stack())))
	*err = errdefs.New(errdefs.Internal, "%s failed by a mistake in the server, which its log describes", method)
}
