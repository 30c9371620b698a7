// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"slices"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

func TestBridgeService(t *testing.T) {
	t.Parallel()
	conn := dial(t)
	bridge, volumes := bridgev1.NewBridgeServiceClient(conn), pb.NewMallocVolumeServiceClient(conn)
	remotes := pb.NewNvmeRemoteControllerServiceClient(conn)
	for i := range 5 {
		_, err := volumes.CreateMallocVolume(t.Context(), &pb.CreateMallocVolumeRequest{
			MallocVolumeId: fmt.Sprintf("disk-%d", i), MallocVolume: &pb.MallocVolume{BlockSize: 512, BlocksCount: 2048},
		})
		must(t, err)
	}
	_, err := remotes.CreateNvmeRemoteController(t.Context(), &pb.CreateNvmeRemoteControllerRequest{
		NvmeRemoteControllerId: "away", NvmeRemoteController: &pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH},
	})
	must(t, err)

	t.Run("status", func(t *testing.T) {
		s, err := bridge.GetStatus(t.Context(), &bridgev1.GetStatusRequest{})
		must(t, err)
		if !s.GetReady() || s.GetVersion() != "test" || s.GetInstance() != "here" || !s.GetDataPlane().GetUp() || !s.GetDataPlane().GetSettled() ||
			s.GetDataPlane().GetVersion() == "" || !s.GetStore().GetReachable() || s.GetStore().GetDurability() != "good" ||
			!s.GetLease().GetHeld() || s.GetResources()["READY"] != 6 || s.GetNotReadyCount() != 0 {
			t.Errorf("status is %v", s)
		}
	})
	t.Run("resource", func(t *testing.T) {
		r, err := bridge.GetResourceStatus(t.Context(), &bridgev1.GetResourceStatusRequest{Name: "mallocVolumes/disk-3"})
		must(t, err)
		if !r.GetReady() || r.GetState() != bridgev1.ResourceStatus_READY || r.GetCreateTime() == nil || r.GetError() != "" || r.GetNotReadySinceTime() != nil {
			t.Errorf("status is %v", r)
		}
		for name, class := range map[string]errdefs.Class{
			"": errdefs.InvalidArgument, "disk-3": errdefs.InvalidArgument, "mallocVolumes/disk-9": errdefs.NotFound,
			"nvmeRemoteControllers/away/nvmeRemoteNamespaces/awayn1": errdefs.InvalidArgument,
		} {
			_, err := bridge.GetResourceStatus(t.Context(), &bridgev1.GetResourceStatusRequest{Name: name})
			if errdefs.ClassOf(err) != class {
				t.Errorf("status of %q: %v, want %s", name, err, class)
			}
		}
	})
	t.Run("resources", func(t *testing.T) {
		var names []string
		request := &bridgev1.ListResourceStatusRequest{PageSize: 4}
		for {
			page, err := bridge.ListResourceStatus(t.Context(), request)
			must(t, err)
			for _, r := range page.GetResources() {
				names = append(names, r.GetName())
			}
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				break
			}
		}
		if want := "[mallocVolumes/disk-0 mallocVolumes/disk-1 mallocVolumes/disk-2 mallocVolumes/disk-3 mallocVolumes/disk-4 nvmeRemoteControllers/away]"; fmt.Sprint(names) != want {
			t.Errorf("resources are %v, want %s", names, want)
		}
		page, err := bridge.ListResourceStatus(t.Context(), &bridgev1.ListResourceStatusRequest{NotReadyOnly: true})
		if err != nil || len(page.GetResources()) != 0 {
			t.Errorf("not ready: %v, %v, want none", page, err)
		}
		_, err = bridge.ListResourceStatus(t.Context(), &bridgev1.ListResourceStatusRequest{PageToken: "x"})
		refused(t, "a made-up token", err, errdefs.InvalidArgument, "page_token", "stale or foreign")
		_, err = bridge.ListResourceStatus(t.Context(), &bridgev1.ListResourceStatusRequest{PageSize: -1})
		refused(t, "a negative page", err, errdefs.InvalidArgument, "page_size", "must not be negative")
	})
	t.Run("stats", func(t *testing.T) {
		s, err := bridge.GetStats(t.Context(), &bridgev1.GetStatsRequest{Name: "mallocVolumes/disk-0"})
		must(t, err)
		if s.GetTickRateHz() == 0 || s.GetSampleTime() == nil || s.GetName() != "mallocVolumes/disk-0" {
			t.Errorf("stats are %v", s)
		}
		_, err = bridge.GetStats(t.Context(), &bridgev1.GetStatsRequest{Name: "disk-0"})
		refused(t, "a bare name", err, errdefs.InvalidArgument, "name", "is not the full name")
	})
	t.Run("capabilities", func(t *testing.T) {
		c, err := bridge.GetCapabilities(t.Context(), &bridgev1.GetCapabilitiesRequest{})
		must(t, err)
		tcp := c.GetTransports()[0]
		if c.GetVersion() == "" || tcp.GetTransport() != "TCP" || tcp.GetListen() != bridgev1.Capabilities_READY || tcp.GetAttach() != bridgev1.Capabilities_READY ||
			!slices.Contains(c.GetFrontends(), bridgev1.Capabilities_NVME) || !slices.Contains(c.GetVolumeKinds(), "malloc") ||
			c.GetTls() || c.GetTlsReason() == "" {
			t.Errorf("capabilities are %v", c)
		}
	})
	t.Run("unknown fields", func(t *testing.T) {
		request := &bridgev1.GetStatusRequest{}
		request.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 77, protowire.VarintType), 1))
		_, err := bridge.GetStatus(t.Context(), request)
		refused(t, "an unknown field", err, errdefs.InvalidArgument, "#77", "does not have")
	})
}
