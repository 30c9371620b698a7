// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

const (
	storageNQN = "nqn.2024-01.io.example.storage:vol-1"
	diskNQN    = "nqn.2024-01.io.example.dpu:disk-1"
	hostNQN    = "nqn.2024-01.io.example:host-1"
	diskUUID   = "6b1c2e5a-0d3f-4f7a-9a51-3f0c9a7d1e42"
	volumeSize = 16 << 20
	diskName   = "nvmeSubsystems/disk-1/nvmeNamespaces/disk-1"
)

// node is a data plane and its bridge.
type node struct {
	dataPlane *testkit.DataPlaneProcess
	bridge    *testkit.BridgeProcess
	conn      *grpc.ClientConn
	port      int
}

func newNode(t *testing.T, store string, flags ...string) *node {
	t.Helper()
	n := &node{dataPlane: testkit.DataPlane(t), port: testkit.FreePort(t)}
	n.serve(t, store, flags...)
	testkit.Eventually(t, "a new node is ready", func() error { return n.ready(t.Context()) })
	return n
}

// serve starts a bridge for the node, which is the one that is asked from now on. It need not have
// the lease yet.
func (n *node) serve(t *testing.T, store string, flags ...string) {
	t.Helper()
	n.bridge = testkit.Bridge(t, testkit.BridgeConfig{
		SPDK: n.dataPlane.Addr(), Store: store,
		WaitFor: "/healthz", // it must start whatever else is away
		Flags:   flags,
	})
	conn, err := grpc.NewClient("dns:///"+n.bridge.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	n.conn = conn
}

// export makes a subsystem with a listener on the node's port and a namespace of that volume.
func (n *node) export(t *testing.T, id, nqn, host, uuid, volume string) {
	t.Helper()
	n.exportTo(t, id, &pb.NvmeSubsystemSpec{Nqn: nqn, Hostnqn: host, SerialNumber: "SN-" + id}, uuid, volume)
}

// exportTo makes that subsystem, with a listener and a namespace as export does.
func (n *node) exportTo(t *testing.T, id string, subsystem *pb.NvmeSubsystemSpec, uuid, volume string) {
	t.Helper()
	c := pb.NewFrontendNvmeServiceClient(n.conn)
	_, err := c.CreateNvmeSubsystem(t.Context(), &pb.CreateNvmeSubsystemRequest{
		NvmeSubsystemId: id, NvmeSubsystem: &pb.NvmeSubsystem{Spec: subsystem},
	})
	must(t, err)
	_, err = c.CreateNvmeController(t.Context(), &pb.CreateNvmeControllerRequest{
		Parent: "nvmeSubsystems/" + id, NvmeControllerId: "ctrl-1",
		NvmeController: &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP,
			Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
				Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(n.port), Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			}},
		}},
	})
	must(t, err)
	_, err = c.CreateNvmeNamespace(t.Context(), &pb.CreateNvmeNamespaceRequest{
		Parent: "nvmeSubsystems/" + id, NvmeNamespaceId: id,
		NvmeNamespace: &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: volume, Uuid: uuid}},
	})
	must(t, err)
}

// volume makes aioVolumes/vol-1 on a file.
func (n *node) volume(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "volume.img")
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Truncate(file, volumeSize))
	_, err := pb.NewAioVolumeServiceClient(n.conn).CreateAioVolume(t.Context(), &pb.CreateAioVolumeRequest{
		AioVolumeId: "vol-1", AioVolume: &pb.AioVolume{BlockSize: 512, Filename: file},
	})
	must(t, err)
}

// site is a storage node, a DPU in front of it, and the DPU's store.
type site struct {
	storage, dpu *node
	redis        *testkit.RedisServer // nil when the DPU keeps its state in a file
	store        string               // the DPU's
}

// newSite builds the whole way from a file on the storage node to a disk for a host, through the API
// alone.
func newSite(t *testing.T, onRedis bool) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{storage: newNode(t, "bolt://"+filepath.Join(dir, "storage.db"))}
	s.storage.volume(t)
	s.storage.export(t, "vol-1", storageNQN, "", "", "aioVolumes/vol-1")

	store := "bolt://" + filepath.Join(dir, "dpu.db")
	if onRedis {
		s.redis = testkit.Redis(t)
		store = "redis://" + s.redis.Addr() + "/0"
	}
	s.store = store
	s.dpu = newNode(t, store)
	remote := pb.NewNvmeRemoteControllerServiceClient(s.dpu.conn)
	_, err := remote.CreateNvmeRemoteController(t.Context(), &pb.CreateNvmeRemoteControllerRequest{
		NvmeRemoteControllerId: "storage-1",
		NvmeRemoteController:   &pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH},
	})
	must(t, err)
	_, err = remote.CreateNvmePath(t.Context(), &pb.CreateNvmePathRequest{
		Parent: "nvmeRemoteControllers/storage-1", NvmePathId: "path-1",
		NvmePath: &pb.NvmePath{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP, Traddr: "127.0.0.1",
			Fabrics: &pb.FabricsPath{
				Trsvcid: int64(s.storage.port), Subnqn: storageNQN, Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			},
		},
	})
	must(t, err)
	list, err := remote.ListNvmeRemoteNamespaces(t.Context(), &pb.ListNvmeRemoteNamespacesRequest{Parent: "nvmeRemoteControllers/storage-1"})
	must(t, err)
	if len(list.GetNvmeRemoteNamespaces()) != 1 {
		t.Fatalf("the storage node shows %v", list)
	}
	s.dpu.export(t, "disk-1", diskNQN, hostNQN, diskUUID, list.GetNvmeRemoteNamespaces()[0].GetName())
	return s
}

// ready asks the bridge whether everything is as wanted.
func (n *node) ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.bridge.HTTPAddr()+"/readyz", nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz: %s", resp.Status)
	}
	return nil
}

// whole waits until the DPU's bridge says that everything is as wanted, the disk included.
func (s *site) whole(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "the DPU is as wanted", func() error {
		if err := s.dpu.ready(t.Context()); err != nil {
			return err
		}
		ns, err := s.disk(t.Context())
		if err != nil {
			return err
		}
		if ns.GetStatus().GetOperState() != pb.NvmeNamespaceStatus_OPER_STATE_ONLINE {
			return fmt.Errorf("the disk is %v", ns.GetStatus())
		}
		return nil
	})
}

func (s *site) disk(ctx context.Context) (*pb.NvmeNamespace, error) {
	return pb.NewFrontendNvmeServiceClient(s.dpu.conn).GetNvmeNamespace(ctx, &pb.GetNvmeNamespaceRequest{Name: diskName})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
