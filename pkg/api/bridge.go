// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

// Reporter is what the bridge's own service needs of an engine, besides [Engine]. All methods are
// safe for concurrent use; those without a context answer from memory.
type Reporter interface {
	Engine
	// Status returns how the engine stands.
	Status() engine.Status
	// Condition returns how one resource stands.
	Condition(name resource.Name) (engine.Condition, error)
	// Conditions returns a page of how resources stand, in the order of their names.
	Conditions(after resource.Name, limit int, notReady bool) (page []engine.Condition, more bool, err error)
	// Capabilities returns what the data plane can do, asked of it now.
	Capabilities(ctx context.Context) (driver.Capabilities, error)
}

// Facts are what a program knows of itself beyond its engine.
type Facts struct {
	// Ready says whether requests can be served.
	Ready bool
	// Version and Instance are those of the program.
	Version, Instance string
	// HostNQN is the NQN as which the data plane attaches to targets where a path names none.
	HostNQN string
	// Durability is what the store says of itself, "" before it was asked.
	Durability string
	// Lease says why the lease is not held, nil when it is.
	Lease error
}

// RegisterBridge registers the bridge's own service. facts is called for each GetStatus.
func RegisterBridge(registrar grpc.ServiceRegistrar, engine Reporter, facts func() Facts) error {
	registry, err := resource.NewRegistry(engine.Kinds())
	if err != nil {
		return err
	}
	bridgev1.RegisterBridgeServiceServer(strict{registrar}, &bridgeService{engine: engine, registry: registry, facts: facts, now: time.Now})
	return nil
}

// bridgeService serves our own API.
type bridgeService struct {
	bridgev1.UnimplementedBridgeServiceServer
	engine   Reporter
	registry *resource.Registry
	facts    func() Facts
	now      func() time.Time
}

// GetStats implements the service.
func (s *bridgeService) GetStats(ctx context.Context, req *bridgev1.GetStatsRequest) (*bridgev1.Stats, error) {
	kind, err := s.kindOf(req.GetName())
	if err != nil {
		return nil, err
	}
	counted, err := s.engine.Stats(ctx, kind, req.GetName())
	if err != nil {
		return nil, err
	}
	return &bridgev1.Stats{
		Name: req.GetName(), SampleTime: timestamppb.New(s.now()),
		ReadBytes: counted.ReadBytes, ReadOps: counted.ReadOps,
		WriteBytes: counted.WriteBytes, WriteOps: counted.WriteOps,
		UnmapBytes: counted.UnmapBytes, UnmapOps: counted.UnmapOps,
		ReadLatencyTicks: counted.ReadLatencyTicks, WriteLatencyTicks: counted.WriteLatencyTicks,
		UnmapLatencyTicks: counted.UnmapLatencyTicks, TickRateHz: counted.TickRate,
	}, nil
}

// kindOf returns the kind of a resource name.
func (s *bridgeService) kindOf(name string) (*resource.Kind, error) {
	if name == "" {
		return nil, errdefs.InvalidField("name", "must be set to the full name of a resource")
	}
	kind := s.registry.ByName(resource.Name(name))
	if kind == nil {
		return nil, errdefs.InvalidField("name", "%q is not the full name of a resource, such as nvmeSubsystems/subsystem0", name)
	}
	return kind, nil
}

// GetStatus implements the service.
func (s *bridgeService) GetStatus(context.Context, *bridgev1.GetStatusRequest) (*bridgev1.Status, error) {
	facts, status := s.facts(), s.engine.Status()
	answer := &bridgev1.Status{
		Ready: facts.Ready, Version: facts.Version, Instance: facts.Instance, HostNqn: facts.HostNQN,
		DataPlane: &bridgev1.Status_DataPlane{
			Up: status.DataPlane.Up, Version: status.DataPlane.Version, Epoch: status.DataPlane.Epoch,
			Settled: status.Settled, Error: text(cmp.Or(status.DataPlane.Err, status.PassErr)),
		},
		Store: &bridgev1.Status_Store{
			Loaded: status.Loaded, Reachable: status.Loaded && status.StoreErr == nil,
			Durability: facts.Durability, Error: text(status.StoreErr),
		},
		Lease:         &bridgev1.Status_Lease{Held: facts.Lease == nil, Error: text(facts.Lease)},
		Resources:     map[string]int64{},
		NotReadyCount: int64(status.NotReadyCount),
		DriftRepaired: map[string]uint64{}, ForeignObjects: map[string]int64{},
	}
	for state, n := range status.Resources {
		answer.Resources[string(state)] = int64(n)
	}
	for objects, n := range status.Drift {
		answer.DriftRepaired[string(objects)] = n
	}
	for objects, n := range status.Foreign {
		answer.ForeignObjects[string(objects)] = int64(n)
	}
	return answer, nil
}

// GetResourceStatus implements the service.
func (s *bridgeService) GetResourceStatus(_ context.Context, req *bridgev1.GetResourceStatusRequest) (*bridgev1.ResourceStatus, error) {
	kind, err := s.kindOf(req.GetName())
	if err != nil {
		return nil, err
	}
	if kind.Derived() {
		return nil, errdefs.InvalidField("name", "%s are found in the data plane, so nothing about them waits or fails", kind.Plural())
	}
	c, err := s.engine.Condition(resource.Name(req.GetName()))
	if err != nil {
		return nil, err
	}
	return resourceStatus(c), nil
}

// statusCollection stands in page tokens of ListResourceStatus, where other lists have a collection. The
// filter is part of it: a page of one list is none of another.
func statusCollection(notReadyOnly bool) string {
	if notReadyOnly {
		return "resource status, not ready only"
	}
	return "resource status"
}

// ListResourceStatus implements the service.
func (s *bridgeService) ListResourceStatus(_ context.Context, req *bridgev1.ListResourceStatusRequest) (*bridgev1.ListResourceStatusResponse, error) {
	size, err := pageSize("page_size", int64(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	after, collection := "", statusCollection(req.GetNotReadyOnly())
	if req.GetPageToken() != "" {
		if after, err = parseToken("page_token", req.GetPageToken(), collection); err != nil {
			return nil, err
		}
	}
	page, more, err := s.engine.Conditions(resource.Name(after), size, req.GetNotReadyOnly())
	if err != nil {
		return nil, err
	}
	answer := &bridgev1.ListResourceStatusResponse{}
	for _, c := range page {
		answer.Resources = append(answer.Resources, resourceStatus(c))
	}
	if more && len(page) > 0 {
		answer.NextPageToken = newToken(collection, string(page[len(page)-1].Name))
	}
	return answer, nil
}

// resourceStatus puts a condition into the words of the API.
func resourceStatus(c engine.Condition) *bridgev1.ResourceStatus {
	answer := &bridgev1.ResourceStatus{
		Name: string(c.Name), State: bridgev1.ResourceStatus_UNREADABLE,
		Ready: c.Err == nil, Error: text(c.Err),
		Attempts:          int32(min(c.Attempts, 1<<30)), //nolint:gosec // bounded on the spot
		NotReadySinceTime: timestamp(c.Since), NextAttemptTime: timestamp(c.RetryAt),
		CreateTime: timestamp(c.Created), UpdateTime: timestamp(c.Updated),
		RepairCount: c.Repairs.Count, LastRepairTime: timestamp(c.Repairs.Last), LastRepair: c.Repairs.What,
		ForeignObjects: c.Foreign, Decided: c.Decided,
	}
	if c.State != "" {
		answer.State = bridgev1.ResourceStatus_State(bridgev1.ResourceStatus_State_value[string(c.State)])
	}
	if c.Err != nil {
		answer.ErrorCode = strings.ToUpper(strings.ReplaceAll(string(errdefs.ClassOf(c.Err)), " ", "_"))
	}
	return answer
}

// timestamp returns a time for an answer, nil for none.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// text returns what an error says, "" for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
