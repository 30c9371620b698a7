// SPDX-License-Identifier: Apache-2.0

// Package host_test lets Linux guests be the hosts of a DPU, and the storage behind it: what a kernel
// that nobody here wrote makes of the disks, and whether it keeps them while everything behind them
// dies and comes back. All is built through the OPI API alone.
package host_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mib is a MiB in bytes.
const mib = 1 << 20

// node is a data plane and its bridge: a DPU or a storage node.
type node struct {
	t         *testing.T
	dataPlane *testkit.DataPlaneProcess
	bridge    *testkit.BridgeProcess
	conn      *grpc.ClientConn
	front     pb.FrontendNvmeServiceClient
	remote    pb.NvmeRemoteControllerServiceClient
}

func newNode(t *testing.T, flags ...string) *node {
	t.Helper()
	return newNodeOf(t, testkit.DataPlane(t, flags...))
}

// newNodeOf starts a bridge on a data plane, with further flags.
func newNodeOf(t *testing.T, dataPlane *testkit.DataPlaneProcess, flags ...string) *node {
	t.Helper()
	n := newNodeAt(t, dataPlane.Addr(), flags...)
	n.dataPlane = dataPlane
	return n
}

// newNodeAt starts a bridge on a data plane that something else has started.
func newNodeAt(t *testing.T, spdk string, flags ...string) *node {
	t.Helper()
	n := &node{t: t}
	n.bridge = testkit.Bridge(t, testkit.BridgeConfig{
		SPDK: spdk, Store: "bolt://" + filepath.Join(t.TempDir(), "state.db"),
		WaitFor: "/healthz", // it must start whatever else is away
		Flags:   flags,
	})
	conn, err := grpc.NewClient("dns:///"+n.bridge.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	n.conn, n.front, n.remote = conn, pb.NewFrontendNvmeServiceClient(conn), pb.NewNvmeRemoteControllerServiceClient(conn)
	n.whole()
	return n
}

// whole waits until everything on the node is as wanted.
func (n *node) whole() {
	n.t.Helper()
	testkit.Eventually(n.t, "the node is as wanted", func() error { return n.ready(n.t.Context()) })
}

// shut waits until the bridge keeps hosts out of a controller because of a namespace.
func (n *node) shut(controller, namespace string) {
	n.t.Helper()
	bridge := bridgev1.NewBridgeServiceClient(n.conn)
	testkit.Eventually(n.t, controller+" waits", func() error {
		s, err := bridge.GetResourceStatus(n.t.Context(), &bridgev1.GetResourceStatusRequest{Name: controller})
		if err == nil && !strings.Contains(s.GetError(), namespace) {
			err = fmt.Errorf("its status is %v", s)
		}
		return err
	})
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

// file makes a volume of a new file of so many bytes and returns its name.
func (n *node) file(id string, size int64) string {
	n.t.Helper()
	path := filepath.Join(n.t.TempDir(), id)
	n.must(os.WriteFile(path, nil, 0o600))
	n.must(os.Truncate(path, size))
	v, err := pb.NewAioVolumeServiceClient(n.conn).CreateAioVolume(n.t.Context(), &pb.CreateAioVolumeRequest{
		AioVolumeId: id, AioVolume: &pb.AioVolume{BlockSize: 512, Filename: path},
	})
	n.must(err)
	return v.GetName()
}

// subsystem makes a subsystem.
func (n *node) subsystem(id string, spec *pb.NvmeSubsystemSpec) {
	n.t.Helper()
	_, err := n.front.CreateNvmeSubsystem(n.t.Context(), &pb.CreateNvmeSubsystemRequest{
		NvmeSubsystemId: id, NvmeSubsystem: &pb.NvmeSubsystem{Spec: spec},
	})
	n.must(err)
}

// listen lets a subsystem listen on a port of loopback.
func (n *node) listen(subsystem, id string, port int) {
	n.t.Helper()
	_, err := n.front.CreateNvmeController(n.t.Context(), &pb.CreateNvmeControllerRequest{
		Parent: "nvmeSubsystems/" + subsystem, NvmeControllerId: id,
		NvmeController: &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP,
			Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
				Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(port), Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			}},
		}},
	})
	n.must(err)
}

// hush ends what listen made.
func (n *node) hush(subsystem, id string) {
	n.t.Helper()
	_, err := n.front.DeleteNvmeController(n.t.Context(), &pb.DeleteNvmeControllerRequest{
		Name: "nvmeSubsystems/" + subsystem + "/nvmeControllers/" + id,
	})
	n.must(err)
}

// namespace makes a namespace and returns what became of it.
func (n *node) namespace(subsystem, id string, spec *pb.NvmeNamespaceSpec) *pb.NvmeNamespace {
	n.t.Helper()
	ns, err := n.front.CreateNvmeNamespace(n.t.Context(), &pb.CreateNvmeNamespaceRequest{
		Parent: "nvmeSubsystems/" + subsystem, NvmeNamespaceId: id, NvmeNamespace: &pb.NvmeNamespace{Spec: spec},
	})
	n.must(err)
	return ns
}

// export makes a subsystem with a listener on each port and one namespace, which it returns.
func (n *node) export(id, nqn, uuid, volume string, ports ...int) *pb.NvmeNamespace {
	n.t.Helper()
	n.subsystem(id, &pb.NvmeSubsystemSpec{Nqn: nqn})
	for i, port := range ports {
		n.listen(id, fmt.Sprintf("port-%d", i), port)
	}
	return n.namespace(id, id, &pb.NvmeNamespaceSpec{VolumeNameRef: volume, Uuid: uuid})
}

// attach connects to a subsystem over a path to each port and returns its namespaces.
func (n *node) attach(id, nqn string, ports ...int) []*pb.NvmeRemoteNamespace {
	n.t.Helper()
	_, err := n.remote.CreateNvmeRemoteController(n.t.Context(), &pb.CreateNvmeRemoteControllerRequest{
		NvmeRemoteControllerId: id,
		NvmeRemoteController:   &pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH},
	})
	n.must(err)
	for i, port := range ports {
		_, err := n.remote.CreateNvmePath(n.t.Context(), &pb.CreateNvmePathRequest{
			Parent: "nvmeRemoteControllers/" + id, NvmePathId: fmt.Sprintf("path-%d", i),
			NvmePath: &pb.NvmePath{
				Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP, Traddr: "127.0.0.1",
				Fabrics: &pb.FabricsPath{
					Trsvcid: int64(port), Subnqn: nqn, Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
				},
			},
		})
		n.must(err)
	}
	list, err := n.remote.ListNvmeRemoteNamespaces(n.t.Context(), &pb.ListNvmeRemoteNamespacesRequest{Parent: "nvmeRemoteControllers/" + id})
	n.must(err)
	if len(list.GetNvmeRemoteNamespaces()) == 0 {
		n.t.Fatalf("%s shows no namespaces", nqn)
	}
	return list.GetNvmeRemoteNamespaces()
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}
