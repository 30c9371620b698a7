// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// observer counts and logs every RPC, also those that end before a handler is reached. It is a stats
// handler because interceptors do not see a request that is too large to be decoded.
type observer struct {
	log      *slog.Logger
	latency  *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

func newObserver(log *slog.Logger, registry prometheus.Registerer) (*observer, error) {
	o := &observer{
		log: log,
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "opi_bridge_api_request_duration_seconds",
			Help:    "Time from the arrival of a request to its answer, by method and gRPC code.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"service", "method", "code"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "opi_bridge_api_requests_in_flight",
			Help: "Requests and streams that are being served.",
		}),
	}
	for _, c := range []prometheus.Collector{o.latency, o.inFlight} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// methodKey is the context key of the method name.
type methodKey struct{}

// TagRPC implements stats.Handler.
func (o *observer) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, methodKey{}, info.FullMethodName)
}

// HandleRPC implements stats.Handler.
func (o *observer) HandleRPC(ctx context.Context, event stats.RPCStats) {
	switch e := event.(type) {
	case *stats.Begin:
		o.inFlight.Inc()
	case *stats.End:
		o.inFlight.Dec()
		full, _ := ctx.Value(methodKey{}).(string)
		service, method, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
		code, took := status.Code(e.Error), e.EndTime.Sub(e.BeginTime)
		o.latency.WithLabelValues(service, method, code.String()).Observe(took.Seconds())
		if o.log.Enabled(ctx, slog.LevelDebug) {
			o.logged(ctx, full, code.String(), took, e.Error)
		}
	}
}

func (o *observer) logged(ctx context.Context, method, code string, took time.Duration, err error) {
	attrs := []slog.Attr{
		slog.String("method", method), slog.String("code", code),
		slog.Duration("took", took), slog.Bool("rest", callerOf(ctx).REST),
	}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	o.log.LogAttrs(ctx, slog.LevelDebug, "request served", attrs...)
}

// TagConn implements stats.Handler.
func (o *observer) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (o *observer) HandleConn(context.Context, stats.ConnStats) {}
