// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// watchPeriod is how often a Watch looks whether something has changed.
const watchPeriod = 500 * time.Millisecond

// health serves grpc.health.v1.Health from the readiness of the moment. All services live on one data
// plane and one store, so all have the state of the whole.
type health struct {
	healthpb.UnimplementedHealthServer
	ready    func() Readiness
	draining <-chan struct{}
	services func() map[string]grpc.ServiceInfo
}

// state returns the state of a service, "" being the whole.
func (h *health) state(service string) healthpb.HealthCheckResponse_ServingStatus {
	if service != "" {
		if _, known := h.services()[service]; !known {
			return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		}
	}
	if !h.ready().Ready {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}

// Check implements grpc.health.v1.Health.
func (h *health) Check(_ context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	state := h.state(req.GetService())
	if state == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, errdefs.New(errdefs.NotFound, "service %q is not served here", req.GetService())
	}
	return &healthpb.HealthCheckResponse{Status: state}, nil
}

// List implements grpc.health.v1.Health.
func (h *health) List(context.Context, *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	all := &healthpb.HealthListResponse{Statuses: map[string]*healthpb.HealthCheckResponse{
		"": {Status: h.state("")},
	}}
	for service := range h.services() {
		all.Statuses[service] = &healthpb.HealthCheckResponse{Status: h.state(service)}
	}
	return all, nil
}

// Watch implements grpc.health.v1.Health. It ends when the server does.
func (h *health) Watch(req *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	last := healthpb.HealthCheckResponse_ServingStatus(-1)
	for {
		if state := h.state(req.GetService()); state != last {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: state}); err != nil {
				return err
			}
			last = state
		}
		select {
		case <-tick.C:
		case <-stream.Context().Done():
			return context.Cause(stream.Context())
		case <-h.draining:
			_ = stream.Send(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING})
			return errdefs.New(errdefs.Unavailable, "the server is ending")
		}
	}
}
