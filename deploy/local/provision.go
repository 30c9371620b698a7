// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
)

// provisionStorage asks the storage node's bridge for a volume in a file, shown to the DPU over NVMe/TCP.
func provisionStorage(ctx context.Context, p place) error {
	if err := ensureVolume(p.volume()); err != nil {
		return err
	}
	a, err := dial(p.grpc())
	if err != nil {
		return err
	}
	defer a.conn.Close()
	volume, err := call(ctx, a.aio.CreateAioVolume, &pb.CreateAioVolumeRequest{
		AioVolumeId: volumeID,
		AioVolume:   &pb.AioVolume{Filename: p.volume(), BlockSize: blockBytes, BlocksCount: volumeBytes / blockBytes},
	})
	if err != nil {
		return fmt.Errorf("storage node: %w", err)
	}
	if err := a.export(ctx, storageNQN, "STORAGE0", dpuHostNQN, volume.GetName(), p.nvmePort); err != nil {
		return fmt.Errorf("storage node: %w", err)
	}
	return nil
}

// provisionDPU asks the DPU's bridge to attach what the storage node shows, and to show it to hosts.
func provisionDPU(ctx context.Context, p, storage place) error {
	a, err := dial(p.grpc())
	if err != nil {
		return err
	}
	defer a.conn.Close()
	controller, err := call(ctx, a.remote.CreateNvmeRemoteController, &pb.CreateNvmeRemoteControllerRequest{
		NvmeRemoteControllerId: remoteID,
		NvmeRemoteController:   &pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH},
	})
	if err != nil {
		return fmt.Errorf("DPU: %w", err)
	}
	_, err = call(ctx, a.remote.CreateNvmePath, &pb.CreateNvmePathRequest{
		Parent: controller.GetName(), NvmePathId: pathID,
		NvmePath: &pb.NvmePath{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP, Traddr: loopback,
			Fabrics: &pb.FabricsPath{
				Trsvcid: int64(storage.nvmePort), Subnqn: storageNQN, Hostnqn: dpuHostNQN,
				Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			},
		},
	})
	if err != nil {
		return fmt.Errorf("DPU: %w", err)
	}
	volume, err := a.remoteNamespace(ctx, controller.GetName())
	if err != nil {
		return fmt.Errorf("DPU: %w", err)
	}
	if err := a.export(ctx, diskNQN, "DISK0", "", volume, p.nvmePort); err != nil {
		return fmt.Errorf("DPU: %w", err)
	}
	return nil
}

// remoteNamespace waits for the one namespace of the remote controller and returns its name.
func (a *api) remoteNamespace(ctx context.Context, controller string) (string, error) {
	var name string
	err := eventually(ctx, startTime, func(ctx context.Context) error {
		list, err := call(ctx, a.remote.ListNvmeRemoteNamespaces, &pb.ListNvmeRemoteNamespacesRequest{Parent: controller})
		if err != nil {
			return err
		}
		if n := len(list.GetNvmeRemoteNamespaces()); n != 1 {
			return fmt.Errorf("%s has %d namespaces, not 1", controller, n)
		}
		name = list.GetNvmeRemoteNamespaces()[0].GetName()
		return nil
	})
	return name, err
}
