// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
)

// The disks of a run: null volumes, and subsystems of perSubsystem namespaces, each with a listener.

func (r *rig) subsystems() int { return (r.disks + r.perSubsystem - 1) / r.perSubsystem }

func volumeID(i int) string    { return fmt.Sprintf("vol-%05d", i) }
func subsystemID(i int) string { return fmt.Sprintf("sub-%05d", i) }
func namespaceID(i int) string { return fmt.Sprintf("disk-%05d", i) }
func subsystemNQN(i int) string {
	return fmt.Sprintf("nqn.2024-01.io.example.bench:%s", subsystemID(i))
}

// each runs work for 0 … n-1 with up to inFlight at a time and returns the first error.
func (r *rig) each(ctx context.Context, n int, work func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(r.inFlight, n) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := work(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (r *rig) createVolume(ctx context.Context, i int) error {
	_, err := pb.NewNullVolumeServiceClient(r.conn).CreateNullVolume(ctx, &pb.CreateNullVolumeRequest{
		NullVolumeId: volumeID(i), NullVolume: &pb.NullVolume{BlockSize: 512, BlocksCount: 2048},
	})
	return err
}

func (r *rig) deleteVolume(ctx context.Context, i int) error {
	_, err := pb.NewNullVolumeServiceClient(r.conn).DeleteNullVolume(ctx, &pb.DeleteNullVolumeRequest{Name: "nullVolumes/" + volumeID(i)})
	return err
}

func (r *rig) createSubsystem(ctx context.Context, i int) error {
	c := pb.NewFrontendNvmeServiceClient(r.conn)
	_, err := c.CreateNvmeSubsystem(ctx, &pb.CreateNvmeSubsystemRequest{
		NvmeSubsystemId: subsystemID(i), NvmeSubsystem: &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: subsystemNQN(i)}},
	})
	if err != nil {
		return err
	}
	return r.listen(ctx, "nvmeSubsystems/"+subsystemID(i))
}

// listen gives a subsystem a listener on the port of the run.
func (r *rig) listen(ctx context.Context, subsystem string) error {
	_, err := pb.NewFrontendNvmeServiceClient(r.conn).CreateNvmeController(ctx, &pb.CreateNvmeControllerRequest{
		Parent: subsystem, NvmeControllerId: "ctrl-0",
		NvmeController: &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP,
			Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
				Traddr: "127.0.0.1", Trsvcid: fmt.Sprint(r.nvmePort), Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			}},
		}},
	})
	return err
}

func (r *rig) namespaceName(i int) string {
	return fmt.Sprintf("nvmeSubsystems/%s/nvmeNamespaces/%s", subsystemID(i/r.perSubsystem), namespaceID(i))
}

func (r *rig) createNamespace(ctx context.Context, i int) error {
	_, err := pb.NewFrontendNvmeServiceClient(r.conn).CreateNvmeNamespace(ctx, &pb.CreateNvmeNamespaceRequest{
		Parent: "nvmeSubsystems/" + subsystemID(i/r.perSubsystem), NvmeNamespaceId: namespaceID(i),
		NvmeNamespace: &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: "nullVolumes/" + volumeID(i)}},
	})
	return err
}

// rawDisks are the calls that build the same disks by hand, in three groups that depend on each other.
func (r *rig) rawDisks() (groups [3][]call) {
	for i := range r.disks {
		groups[0] = append(groups[0], call{"bdev_null_create", map[string]any{
			"name": volumeID(i), "block_size": 512, "num_blocks": 2048,
			"uuid": fmt.Sprintf("00000000-0000-4000-8000-%012x", i+1),
		}})
	}
	for i := range r.subsystems() {
		groups[0] = append(groups[0], call{"nvmf_create_subsystem", map[string]any{
			"nqn": subsystemNQN(i), "allow_any_host": true, "serial_number": "BENCH", "max_namespaces": 32,
		}})
		groups[1] = append(groups[1], call{"nvmf_subsystem_add_listener", map[string]any{
			"nqn":            subsystemNQN(i),
			"listen_address": map[string]any{"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": fmt.Sprint(r.nvmePort)},
		}})
	}
	for i := range r.disks {
		groups[2] = append(groups[2], call{"nvmf_subsystem_add_ns", map[string]any{
			"nqn":       subsystemNQN(i / r.perSubsystem),
			"namespace": map[string]any{"bdev_name": volumeID(i), "nsid": i%r.perSubsystem + 1},
		}})
	}
	return groups
}
