// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// callTime bounds one API call.
const callTime = 15 * time.Second

// The names that both nodes' objects go by.
const (
	volumeID    = "volume0"
	subsystemID = "subsystem0"
	listenerID  = "listener0"
	namespaceID = "namespace0"
	remoteID    = "storage0"
	pathID      = "path0"

	storageNQN = "nqn.2025-01.io.opi-bridge:storage"
	diskNQN    = "nqn.2025-01.io.opi-bridge:disk"
	dpuHostNQN = "nqn.2025-01.io.opi-bridge:dpu"
)

// api is a bridge, seen through the OPI storage API.
type api struct {
	conn     *grpc.ClientConn
	aio      pb.AioVolumeServiceClient
	frontend pb.FrontendNvmeServiceClient
	remote   pb.NvmeRemoteControllerServiceClient
}

// dial makes a client of the bridge at that address. Close its conn.
func dial(address string) (*api, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", address, err)
	}
	return &api{
		conn:     conn,
		aio:      pb.NewAioVolumeServiceClient(conn),
		frontend: pb.NewFrontendNvmeServiceClient(conn),
		remote:   pb.NewNvmeRemoteControllerServiceClient(conn),
	}, nil
}

// call makes one API call within callTime.
func call[Q, A any](ctx context.Context, method func(context.Context, *Q, ...grpc.CallOption) (A, error), request *Q) (A, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	answer, err := method(ctx, request)
	if err != nil {
		return answer, fmt.Errorf("%T: %w", request, err)
	}
	return answer, nil
}

// export shows the volume as namespace 1 of a subsystem that listens on the port, to that host or,
// if hostnqn is empty, to any. What is there already, as wanted, stays as it is.
func (a *api) export(ctx context.Context, nqn, serial, hostnqn, volume string, port int) error {
	_, err := call(ctx, a.frontend.CreateNvmeSubsystem, &pb.CreateNvmeSubsystemRequest{
		NvmeSubsystemId: subsystemID,
		NvmeSubsystem: &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{
			Nqn: nqn, SerialNumber: serial, ModelNumber: "opi-bridge local", Hostnqn: hostnqn,
		}},
	})
	if err != nil {
		return err
	}
	parent := "nvmeSubsystems/" + subsystemID
	_, err = call(ctx, a.frontend.CreateNvmeController, &pb.CreateNvmeControllerRequest{
		Parent: parent, NvmeControllerId: listenerID,
		NvmeController: &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP,
			Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
				Traddr: loopback, Trsvcid: fmt.Sprint(port), Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			}},
		}},
	})
	if err != nil {
		return err
	}
	_, err = call(ctx, a.frontend.CreateNvmeNamespace, &pb.CreateNvmeNamespaceRequest{
		Parent: parent, NvmeNamespaceId: namespaceID,
		NvmeNamespace: &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{HostNsid: 1, VolumeNameRef: volume}},
	})
	return err
}
