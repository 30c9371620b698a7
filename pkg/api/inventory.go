// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"regexp"

	pb "github.com/opiproject/opi-api/inventory/v1/gen/go"
	"google.golang.org/grpc"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// RegisterInventory registers the OPI inventory service. It tells of the machine whose /proc and /sys
// lie below root; "" and "/" mean this one.
func RegisterInventory(registrar grpc.ServiceRegistrar, root string) {
	if root == "" {
		root = "/"
	}
	pb.RegisterInventoryServiceServer(strict{registrar}, &inventoryService{machine: machine{root}, turn: make(chan struct{}, 1)})
}

// inventoryService serves the inventory. What it tells is read at each request: it is asked seldom,
// and the names of PCI devices, held for good, would take more memory than all else here.
type inventoryService struct {
	pb.UnimplementedInventoryServiceServer
	machine machine
	turn    chan struct{} // has a token while a request reads, so that many cost no more memory than one
}

// inventoryName is the pattern of the API's URL. A bridge runs on one device, so the two ids choose
// nothing.
var inventoryName = regexp.MustCompile(`^inventory/[A-Za-z0-9][A-Za-z0-9._~-]{0,127}/inventory/[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$`)

// GetInventory implements the service.
func (s *inventoryService) GetInventory(ctx context.Context, req *pb.GetInventoryRequest) (*pb.Inventory, error) {
	if name := req.GetName(); name != "" && !inventoryName.MatchString(name) {
		return nil, errdefs.InvalidField("name", "%q must be empty, or have the form inventory/{device}/inventory/{inventory}", name)
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, errdefs.Wrap(errdefs.ClassOf(ctx.Err()), ctx.Err(), "waiting for another request to end")
	}
	return s.machine.inventory(ctx), nil
}
