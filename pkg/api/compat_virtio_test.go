// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func TestCompatVirtio(t *testing.T) {
	t.Parallel()
	conn := compatBridge(t, "--vhost-dir", testkit.SocketDir(t))
	blk, scsi := pb.NewFrontendVirtioBlkServiceClient(conn), pb.NewFrontendVirtioScsiServiceClient(conn)
	at := func(port, physical, virtual int32) *pb.PciEndpoint {
		return &pb.PciEndpoint{
			PortId: wrapperspb.Int32(port), PhysicalFunction: wrapperspb.Int32(physical), VirtualFunction: wrapperspb.Int32(virtual),
		}
	}
	life(t, "volumes", "opi-virtio-blk8",
		made(blk.CreateVirtioBlk, func(id string) *pb.CreateVirtioBlkRequest {
			return &pb.CreateVirtioBlkRequest{VirtioBlkId: id, VirtioBlk: &pb.VirtioBlk{VolumeNameRef: "Malloc1", PcieId: at(0, 1, 0)}}
		}),
		asked(blk.ListVirtioBlks, func(string) *pb.ListVirtioBlksRequest { return &pb.ListVirtioBlksRequest{} }),
		asked(blk.GetVirtioBlk, func(name string) *pb.GetVirtioBlkRequest { return &pb.GetVirtioBlkRequest{Name: name} }),
		asked(blk.StatsVirtioBlk, func(name string) *pb.StatsVirtioBlkRequest { return &pb.StatsVirtioBlkRequest{Name: name} }),
		asked(blk.DeleteVirtioBlk, func(name string) *pb.DeleteVirtioBlkRequest { return &pb.DeleteVirtioBlkRequest{Name: name} }),
	)
	createController := made(scsi.CreateVirtioScsiController, func(id string) *pb.CreateVirtioScsiControllerRequest {
		return &pb.CreateVirtioScsiControllerRequest{VirtioScsiControllerId: id, VirtioScsiController: &pb.VirtioScsiController{PcieId: at(3, 1, 2)}}
	})
	deleteController := asked(scsi.DeleteVirtioScsiController, func(name string) *pb.DeleteVirtioScsiControllerRequest {
		return &pb.DeleteVirtioScsiControllerRequest{Name: name}
	})
	life(t, "volumes", "opi-virtio-scsi8", createController,
		asked(scsi.UpdateVirtioScsiController, func(name string) *pb.UpdateVirtioScsiControllerRequest {
			return &pb.UpdateVirtioScsiControllerRequest{UpdateMask: everything(), VirtioScsiController: &pb.VirtioScsiController{Name: name, PcieId: at(3, 1, 2)}}
		}),
		asked(scsi.ListVirtioScsiControllers, func(string) *pb.ListVirtioScsiControllersRequest {
			return &pb.ListVirtioScsiControllersRequest{Parent: "todo"}
		}),
		asked(scsi.GetVirtioScsiController, func(name string) *pb.GetVirtioScsiControllerRequest {
			return &pb.GetVirtioScsiControllerRequest{Name: name}
		}),
		asked(scsi.StatsVirtioScsiController, func(name string) *pb.StatsVirtioScsiControllerRequest {
			return &pb.StatsVirtioScsiControllerRequest{Name: name}
		}),
		deleteController,
	)
	// A LUN there has the id of its controller, names it by the bare id, and so both have one name.
	const id = "opi-virtio-scsi8"
	_, err := createController(t.Context(), id)
	must(t, err)
	lun := func(name string) *pb.VirtioScsiLun {
		return &pb.VirtioScsiLun{Name: name, TargetNameRef: id, VolumeNameRef: "Malloc1"}
	}
	made, err := scsi.CreateVirtioScsiLun(t.Context(), &pb.CreateVirtioScsiLunRequest{VirtioScsiLunId: id, VirtioScsiLun: lun("")})
	must(t, err)
	if made.GetName() != "volumes/"+id || made.GetVolumeNameRef() != "Malloc1" || made.GetTargetNameRef() != "volumes/"+id {
		t.Errorf("made %v", made)
	}
	for _, r := range []request{
		asked(scsi.UpdateVirtioScsiLun, func(name string) *pb.UpdateVirtioScsiLunRequest {
			return &pb.UpdateVirtioScsiLunRequest{UpdateMask: everything(), VirtioScsiLun: lun(name)}
		}),
		asked(scsi.ListVirtioScsiLuns, func(name string) *pb.ListVirtioScsiLunsRequest { return &pb.ListVirtioScsiLunsRequest{Parent: name} }),
		asked(scsi.GetVirtioScsiLun, func(name string) *pb.GetVirtioScsiLunRequest { return &pb.GetVirtioScsiLunRequest{Name: name} }),
		asked(scsi.StatsVirtioScsiLun, func(name string) *pb.StatsVirtioScsiLunRequest { return &pb.StatsVirtioScsiLunRequest{Name: name} }),
		asked(scsi.DeleteVirtioScsiLun, func(name string) *pb.DeleteVirtioScsiLunRequest { return &pb.DeleteVirtioScsiLunRequest{Name: name} }),
		deleteController,
	} {
		must(t, r(t.Context(), made.GetName()))
	}
}
