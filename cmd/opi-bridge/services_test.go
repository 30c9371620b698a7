// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

// getJSON makes a GET request of the HTTP listener and decodes the answer.
func (u *bridgeUnderTest) getJSON(t *testing.T, path string, answer any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+u.server.HTTPAddr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return resp.StatusCode
}

// The bridge's own service and the inventory are served, over gRPC and REST.
func TestOwnServices(t *testing.T) {
	t.Parallel()
	plane := testkit.DataPlane(t)
	u := startBridge(t, "--store=bolt://"+t.TempDir()+"/state.db", "--spdk=unix://"+plane.Socket(), "--instance=dpu-7")
	u.await(t)
	if err := u.create(t, "vol-1"); err != nil {
		t.Fatal(err)
	}
	s, err := bridgev1.NewBridgeServiceClient(u.conn).GetStatus(t.Context(), &bridgev1.GetStatusRequest{})
	if err != nil || !s.GetReady() || s.GetInstance() != "dpu-7" || s.GetStore().GetDurability() == "" || !s.GetLease().GetHeld() {
		t.Errorf("status is %v, %v", s, err)
	}
	var stats struct{ Name, TickRateHz string }
	if code := u.getJSON(t, "/opi-bridge/v1/stats/mallocVolumes/vol-1", &stats); code != http.StatusOK || stats.Name != "mallocVolumes/vol-1" || stats.TickRateHz == "0" {
		t.Errorf("stats: %d %+v", code, stats)
	}
	var status struct {
		Ready bool
		State string
	}
	if code := u.getJSON(t, "/opi-bridge/v1/resources/mallocVolumes/vol-1", &status); code != http.StatusOK || !status.Ready || status.State != "READY" {
		t.Errorf("status: %d %+v", code, status)
	}
	var page struct{ Resources []any }
	if code := u.getJSON(t, "/opi-bridge/v1/resources?notReadyOnly=true&pageSize=3", &page); code != http.StatusOK || len(page.Resources) != 0 {
		t.Errorf("what is not ready: %d %+v", code, page)
	}
	if code := u.getJSON(t, "/opi-bridge/v1/resources", &page); code != http.StatusOK || len(page.Resources) != 1 {
		t.Errorf("resources: %d %+v", code, page)
	}
	var inventory struct{ Processor struct{ TotalThreads int } }
	if code := u.getJSON(t, "/v1/inventory/1/inventory/2", &inventory); code != http.StatusOK || inventory.Processor.TotalThreads < 1 {
		t.Errorf("inventory: %d %+v", code, inventory)
	}
}

// With --compat the bridge takes the short ids of opi-spdk-bridge's clients and gives its names back;
// without, it does neither.
func TestCompatSetting(t *testing.T) {
	t.Parallel()
	plane := testkit.DataPlane(t)
	create := func(flags ...string) (*pb.NullVolume, error) {
		u := startBridge(t, append(flags, "--store=bolt://"+t.TempDir()+"/state.db", "--spdk=unix://"+plane.Socket())...)
		defer u.stop()
		u.await(t)
		return pb.NewNullVolumeServiceClient(u.conn).CreateNullVolume(context.WithoutCancel(t.Context()), &pb.CreateNullVolumeRequest{
			NullVolumeId: "n", NullVolume: &pb.NullVolume{BlockSize: 512, BlocksCount: 2048},
		})
	}
	if v, err := create(); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("without --compat: %v, %v", v, err)
	}
	if v, err := create("--compat=opi-spdk-bridge"); err != nil || v.GetName() != "volumes/n" {
		t.Errorf("with --compat: %v, %v", v, err)
	}
}

// Lists of resources without a parent work over REST, and over gRPC with and without the parent that
// stands in the path. The two lists that share a path have one each of their own.
func TestListsWithAConstantParent(t *testing.T) {
	t.Parallel()
	plane := testkit.DataPlane(t)
	u := startBridge(t, "--store=bolt://"+t.TempDir()+"/state.db", "--spdk=unix://"+plane.Socket())
	u.await(t)
	if err := u.create(t, "vol-1"); err != nil {
		t.Fatal(err)
	}
	qos := pb.NewMiddleendQosVolumeServiceClient(u.conn)
	_, err := qos.CreateQosVolume(t.Context(), &pb.CreateQosVolumeRequest{QosVolumeId: "limited", QosVolume: &pb.QosVolume{
		VolumeNameRef: "mallocVolumes/vol-1", Limits: &pb.Limits{Max: &pb.QosLimit{RwIopsKiops: 10}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/v1/qosVolumes": "qosVolumes", "/v1/volumes": "qosVolumes", "/v1/qosVolumes?pageSize=5": "qosVolumes",
		"/v1/encryptedVolumes": "encryptedVolumes", "/v1/virtioScsiTargets": "virtioScsiTargets",
		"/v1/virtioScsiControllers": "virtioScsiControllers", "/v1/virtioScsiLuns": "virtioScsiLuns", "/v1/virtioBlks": "virtioBlks",
	} {
		answer := map[string]any{}
		code := u.getJSON(t, path, &answer)
		list, ok := answer[want].([]any)
		if code != http.StatusOK || !ok || (want == "qosVolumes") != (len(list) == 1) {
			t.Errorf("%s: %d %v", path, code, answer)
		}
	}
	for _, parent := range []string{"", "volumes"} {
		list, err := qos.ListQosVolumes(t.Context(), &pb.ListQosVolumesRequest{Parent: parent})
		if err != nil || len(list.GetQosVolumes()) != 1 {
			t.Errorf("list below %q: %v, %v", parent, list, err)
		}
	}
	if _, err := qos.ListQosVolumes(t.Context(), &pb.ListQosVolumesRequest{Parent: "nvmeSubsystems/a"}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("a parent that has none: %v", err)
	}
	var refused struct{ Code int }
	if code := u.getJSON(t, "/v1/encryptedVolumes?pageSizes=1", &refused); code != http.StatusBadRequest || refused.Code != 3 {
		t.Errorf("an unknown parameter: %d %+v", code, refused)
	}
}
