// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// everything is the update mask that those clients send.
func everything() *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: []string{"*"}} }

// call makes one JSON-RPC call to a data plane, as somebody would who is not the bridge.
func call(t *testing.T, plane *testkit.DataPlaneProcess, method string, params any) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", plane.Socket())
	must(t, err)
	defer func() { _ = conn.Close() }()
	must(t, json.NewEncoder(conn).Encode(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
	var answer struct{ Error any }
	must(t, json.NewDecoder(conn).Decode(&answer))
	if answer.Error != nil {
		t.Fatalf("%s: %v", method, answer.Error)
	}
}

// compatBridge returns a connection to an API as opi-spdk-bridge's clients want it, on a data plane that
// holds what godpu's tests take for granted: a bdev called Malloc1.
func compatBridge(t *testing.T, flags ...string) *grpc.ClientConn {
	t.Helper()
	plane := testkit.DataPlane(t, flags...)
	call(t, plane, "bdev_malloc_create", map[string]any{"name": "Malloc1", "num_blocks": 64, "block_size": 512})
	sealer, err := secret.NewSealer([]secret.Key{secret.NewKey()})
	must(t, err)
	cfg := engine.Config{Sealer: sealer, CheckID: resource.CheckShortID}
	return serve(t, plane, cfg, api.RegisterCompat)
}

// request is one call of a client, which returns an error.
type request func(ctx context.Context, name string) error

// asked makes a request of a method and what it is asked.
func asked[In, Out any](method func(context.Context, In, ...grpc.CallOption) (Out, error), in func(name string) In) request {
	return func(ctx context.Context, name string) error {
		_, err := method(ctx, in(name))
		return err
	}
}

// named is an answer that has a name.
type named interface{ GetName() string }

// made makes a create, which returns the name of what it has made.
func made[In any, Out named](method func(context.Context, In, ...grpc.CallOption) (Out, error), in func(id string) In) func(context.Context, string) (string, error) {
	return func(ctx context.Context, id string) (string, error) {
		out, err := method(ctx, in(id))
		if err != nil {
			return "", err
		}
		return out.GetName(), nil
	}
}

// life plays what those tests do with each kind: create with an id and without one, see what name comes
// back, then everything else by that name.
func life(t *testing.T, collection, id string, create func(context.Context, string) (string, error), requests ...request) {
	t.Helper()
	for _, id := range []string{id, ""} {
		name, err := create(t.Context(), id)
		if err != nil {
			t.Fatalf("create %q: %v", id, err)
		}
		if id == "" {
			parsed, err := uuid.Parse(strings.TrimPrefix(name, collection+"/"))
			must(t, err)
			id = parsed.String()
		}
		if name != collection+"/"+id {
			t.Fatalf("created %q, want %q", name, collection+"/"+id)
		}
		for i, r := range requests {
			if err := r(t.Context(), name); err != nil {
				t.Fatalf("request %d about %s: %v", i, name, err)
			}
		}
	}
}

func TestCompatVolumes(t *testing.T) {
	t.Parallel()
	conn := compatBridge(t)
	null, aio := pb.NewNullVolumeServiceClient(conn), pb.NewAioVolumeServiceClient(conn)
	life(t, "volumes", "opi-null9",
		made(null.CreateNullVolume, func(id string) *pb.CreateNullVolumeRequest {
			return &pb.CreateNullVolumeRequest{NullVolumeId: id, NullVolume: &pb.NullVolume{BlockSize: 512, BlocksCount: 64}}
		}),
		asked(null.UpdateNullVolume, func(name string) *pb.UpdateNullVolumeRequest {
			return &pb.UpdateNullVolumeRequest{UpdateMask: everything(), NullVolume: &pb.NullVolume{Name: name, BlockSize: 512, BlocksCount: 128}}
		}),
		asked(null.ListNullVolumes, func(string) *pb.ListNullVolumesRequest { return &pb.ListNullVolumesRequest{} }),
		asked(null.GetNullVolume, func(name string) *pb.GetNullVolumeRequest { return &pb.GetNullVolumeRequest{Name: name} }),
		asked(null.StatsNullVolume, func(name string) *pb.StatsNullVolumeRequest { return &pb.StatsNullVolumeRequest{Name: name} }),
		asked(null.DeleteNullVolume, func(name string) *pb.DeleteNullVolumeRequest { return &pb.DeleteNullVolumeRequest{Name: name} }),
	)
	file := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(file, make([]byte, 64*512), 0o600))
	life(t, "volumes", "opi-aio4",
		made(aio.CreateAioVolume, func(id string) *pb.CreateAioVolumeRequest {
			return &pb.CreateAioVolumeRequest{AioVolumeId: id, AioVolume: &pb.AioVolume{BlockSize: 512, BlocksCount: 12, Filename: file}}
		}),
		asked(aio.UpdateAioVolume, func(name string) *pb.UpdateAioVolumeRequest {
			return &pb.UpdateAioVolumeRequest{UpdateMask: everything(), AioVolume: &pb.AioVolume{Name: name, Filename: file}}
		}),
		asked(aio.ListAioVolumes, func(string) *pb.ListAioVolumesRequest { return &pb.ListAioVolumesRequest{} }),
		asked(aio.GetAioVolume, func(name string) *pb.GetAioVolumeRequest { return &pb.GetAioVolumeRequest{Name: name} }),
		asked(aio.StatsAioVolume, func(name string) *pb.StatsAioVolumeRequest { return &pb.StatsAioVolumeRequest{Name: name} }),
		asked(aio.DeleteAioVolume, func(name string) *pb.DeleteAioVolumeRequest { return &pb.DeleteAioVolumeRequest{Name: name} }),
	)
}

func TestCompatNvme(t *testing.T) {
	t.Parallel()
	conn := compatBridge(t)
	c := pb.NewFrontendNvmeServiceClient(conn)
	const host = "nqn.2014-08.org.nvmexpress:uuid:feb98abe-d51f-40c8-b348-2753f3571d3c"
	subsystem := func(id, nqn string) *pb.CreateNvmeSubsystemRequest {
		return &pb.CreateNvmeSubsystemRequest{NvmeSubsystemId: id, NvmeSubsystem: &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{
			ModelNumber: "OPI Model", SerialNumber: "OPI SN", MaxNamespaces: 10, Hostnqn: host, Nqn: nqn,
		}}}
	}
	deleteSubsystem := asked(c.DeleteNvmeSubsystem, func(name string) *pb.DeleteNvmeSubsystemRequest {
		return &pb.DeleteNvmeSubsystemRequest{Name: name}
	})
	life(t, "nvmeSubsystems", "subsystem-test",
		made(c.CreateNvmeSubsystem, func(id string) *pb.CreateNvmeSubsystemRequest { return subsystem(id, "nqn.2022-09.io.spdk:opi3") }),
		asked(c.UpdateNvmeSubsystem, func(name string) *pb.UpdateNvmeSubsystemRequest {
			return &pb.UpdateNvmeSubsystemRequest{UpdateMask: everything(), NvmeSubsystem: &pb.NvmeSubsystem{
				Name: name, Spec: &pb.NvmeSubsystemSpec{Nqn: "nqn.2022-09.io.spdk:opi3"},
			}}
		}),
		asked(c.ListNvmeSubsystems, func(string) *pb.ListNvmeSubsystemsRequest { return &pb.ListNvmeSubsystemsRequest{} }),
		asked(c.GetNvmeSubsystem, func(name string) *pb.GetNvmeSubsystemRequest { return &pb.GetNvmeSubsystemRequest{Name: name} }),
		asked(c.StatsNvmeSubsystem, func(name string) *pb.StatsNvmeSubsystemRequest { return &pb.StatsNvmeSubsystemRequest{Name: name} }),
		deleteSubsystem,
	)

	sub, err := c.CreateNvmeSubsystem(t.Context(), subsystem("endpoint-test", "nqn.2022-09.io.spdk:opi2"))
	must(t, err)
	kept, err := c.UpdateNvmeSubsystem(t.Context(), &pb.UpdateNvmeSubsystemRequest{UpdateMask: everything(), NvmeSubsystem: &pb.NvmeSubsystem{
		Name: sub.GetName(), Spec: &pb.NvmeSubsystemSpec{Nqn: "nqn.2022-09.io.spdk:opi2"},
	}})
	must(t, err)
	if kept.GetSpec().GetHostnqn() != host {
		t.Errorf("an update that does not speak of hosts has opened the subsystem: %v", kept)
	}
	port := fmt.Sprint(testkit.FreePort(t))
	endpoint := func(name string, sizes int32) *pb.NvmeController {
		return &pb.NvmeController{Name: name, Spec: &pb.NvmeControllerSpec{
			Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
				Traddr: "127.0.0.1", Trsvcid: port, Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			}},
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP,
			MaxNsq: sizes, MaxNcq: sizes + 1, Sqes: sizes + 2, Cqes: sizes + 3, NvmeControllerId: proto.Int32(1),
		}}
	}
	createEndpoint := made(c.CreateNvmeController, func(id string) *pb.CreateNvmeControllerRequest {
		return &pb.CreateNvmeControllerRequest{Parent: sub.GetName(), NvmeControllerId: id, NvmeController: endpoint("", 5)}
	})
	life(t, sub.GetName()+"/nvmeControllers", "controller-test", createEndpoint,
		asked(c.UpdateNvmeController, func(name string) *pb.UpdateNvmeControllerRequest {
			return &pb.UpdateNvmeControllerRequest{UpdateMask: everything(), NvmeController: endpoint(name, 8)}
		}),
		asked(c.ListNvmeControllers, func(string) *pb.ListNvmeControllersRequest {
			return &pb.ListNvmeControllersRequest{Parent: sub.GetName()}
		}),
		asked(c.GetNvmeController, func(name string) *pb.GetNvmeControllerRequest { return &pb.GetNvmeControllerRequest{Name: name} }),
		asked(c.StatsNvmeController, func(name string) *pb.StatsNvmeControllerRequest {
			return &pb.StatsNvmeControllerRequest{Name: name}
		}),
		asked(c.DeleteNvmeController, func(name string) *pb.DeleteNvmeControllerRequest {
			return &pb.DeleteNvmeControllerRequest{Name: name}
		}),
	)

	_, err = createEndpoint(t.Context(), "namespace-test-ctrler")
	must(t, err)
	namespace := func(name string) *pb.NvmeNamespace {
		return &pb.NvmeNamespace{Name: name, Spec: &pb.NvmeNamespaceSpec{
			VolumeNameRef: "Malloc1", Uuid: "1b4e28ba-2fa1-11d2-883f-b9a761bde3fb", Nguid: "1b4e28ba-2fa1-11d2-883f-b9a761bde3fb",
			Eui64: 1967554867335598546, HostNsid: 1,
		}}
	}
	life(t, sub.GetName()+"/nvmeNamespaces", "namespace-test",
		made(c.CreateNvmeNamespace, func(id string) *pb.CreateNvmeNamespaceRequest {
			return &pb.CreateNvmeNamespaceRequest{Parent: sub.GetName(), NvmeNamespaceId: id, NvmeNamespace: namespace("")}
		}),
		asked(c.UpdateNvmeNamespace, func(name string) *pb.UpdateNvmeNamespaceRequest {
			return &pb.UpdateNvmeNamespaceRequest{UpdateMask: everything(), NvmeNamespace: namespace(name)}
		}),
		asked(c.ListNvmeNamespaces, func(string) *pb.ListNvmeNamespacesRequest {
			return &pb.ListNvmeNamespacesRequest{Parent: sub.GetName()}
		}),
		asked(c.GetNvmeNamespace, func(name string) *pb.GetNvmeNamespaceRequest { return &pb.GetNvmeNamespaceRequest{Name: name} }),
		asked(c.StatsNvmeNamespace, func(name string) *pb.StatsNvmeNamespaceRequest { return &pb.StatsNvmeNamespaceRequest{Name: name} }),
		asked(c.DeleteNvmeNamespace, func(name string) *pb.DeleteNvmeNamespaceRequest {
			return &pb.DeleteNvmeNamespaceRequest{Name: name}
		}),
	)
	_, err = c.DeleteNvmeController(t.Context(), &pb.DeleteNvmeControllerRequest{Name: sub.GetName() + "/nvmeControllers/namespace-test-ctrler"})
	must(t, err)
	must(t, deleteSubsystem(t.Context(), sub.GetName()))
}

func TestCompatRemoteControllers(t *testing.T) {
	t.Parallel()
	conn := compatBridge(t)
	c := pb.NewNvmeRemoteControllerServiceClient(conn)
	create := made(c.CreateNvmeRemoteController, func(id string) *pb.CreateNvmeRemoteControllerRequest {
		return &pb.CreateNvmeRemoteControllerRequest{NvmeRemoteControllerId: id, NvmeRemoteController: &pb.NvmeRemoteController{
			Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH, Tcp: &pb.TcpController{},
		}}
	})
	remove := asked(c.DeleteNvmeRemoteController, func(name string) *pb.DeleteNvmeRemoteControllerRequest {
		return &pb.DeleteNvmeRemoteControllerRequest{Name: name}
	})
	life(t, "nvmeRemoteControllers", "opi-nvme8", create,
		asked(c.ResetNvmeRemoteController, func(name string) *pb.ResetNvmeRemoteControllerRequest {
			return &pb.ResetNvmeRemoteControllerRequest{Name: name}
		}),
		asked(c.ListNvmeRemoteControllers, func(string) *pb.ListNvmeRemoteControllersRequest {
			return &pb.ListNvmeRemoteControllersRequest{}
		}),
		asked(c.GetNvmeRemoteController, func(name string) *pb.GetNvmeRemoteControllerRequest {
			return &pb.GetNvmeRemoteControllerRequest{Name: name}
		}),
		asked(c.StatsNvmeRemoteController, func(name string) *pb.StatsNvmeRemoteControllerRequest {
			return &pb.StatsNvmeRemoteControllerRequest{Name: name}
		}),
		remove,
	)
	const nqn = "nqn.2016-06.io.spdk:cnode1"
	node, port := testkit.DataPlane(t), testkit.FreePort(t)
	call(t, node, "nvmf_create_transport", map[string]any{"trtype": "TCP"})
	call(t, node, "nvmf_create_subsystem", map[string]any{"nqn": nqn, "allow_any_host": true})
	call(t, node, "nvmf_subsystem_add_listener", map[string]any{"nqn": nqn, "listen_address": map[string]any{
		"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": fmt.Sprint(port),
	}})
	controller, err := create(t.Context(), "opi-nvme8")
	must(t, err)
	path := func(name string) *pb.NvmePath {
		return &pb.NvmePath{
			Name: name, Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP, Traddr: "127.0.0.1",
			Fabrics: &pb.FabricsPath{
				Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4, Trsvcid: int64(port), Subnqn: nqn,
				Hostnqn: "nqn.2014-08.org.nvmexpress:uuid:feb98abe-d51f-40c8-b348-2753f3571d3c",
			},
		}
	}
	life(t, controller+"/nvmePaths", "opi-nvme8-path",
		made(c.CreateNvmePath, func(id string) *pb.CreateNvmePathRequest {
			return &pb.CreateNvmePathRequest{Parent: controller, NvmePathId: id, NvmePath: path("")}
		}),
		asked(c.UpdateNvmePath, func(name string) *pb.UpdateNvmePathRequest {
			return &pb.UpdateNvmePathRequest{UpdateMask: everything(), NvmePath: path(name)}
		}),
		asked(c.ListNvmePaths, func(string) *pb.ListNvmePathsRequest { return &pb.ListNvmePathsRequest{Parent: controller} }),
		asked(c.GetNvmePath, func(name string) *pb.GetNvmePathRequest { return &pb.GetNvmePathRequest{Name: name} }),
		asked(c.StatsNvmePath, func(name string) *pb.StatsNvmePathRequest { return &pb.StatsNvmePathRequest{Name: name} }),
		asked(c.DeleteNvmePath, func(name string) *pb.DeleteNvmePathRequest { return &pb.DeleteNvmePathRequest{Name: name} }),
	)
	must(t, remove(t.Context(), controller))
}

// Both forms of names are taken, one is given back, and what is in use is not replaced.
func TestCompatNames(t *testing.T) {
	t.Parallel()
	conn := compatBridge(t)
	null, frontend := pb.NewNullVolumeServiceClient(conn), pb.NewFrontendNvmeServiceClient(conn)
	_, err := null.CreateNullVolume(t.Context(), &pb.CreateNullVolumeRequest{
		NullVolumeId: "a", NullVolume: &pb.NullVolume{Name: "whatever", BlockSize: 512, BlocksCount: 64},
	})
	must(t, err)
	for _, name := range []string{"volumes/a", "nullVolumes/a", "a"} {
		v, err := null.GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{Name: name})
		if err != nil || v.GetName() != "volumes/a" {
			t.Errorf("get %s: %v, %v", name, v, err)
		}
	}
	list, err := null.ListNullVolumes(t.Context(), &pb.ListNullVolumesRequest{})
	if err != nil || len(list.GetNullVolumes()) != 1 || list.GetNullVolumes()[0].GetName() != "volumes/a" {
		t.Errorf("list: %v, %v", list, err)
	}
	_, err = frontend.CreateNvmeSubsystem(t.Context(), &pb.CreateNvmeSubsystemRequest{
		NvmeSubsystemId: "s", NvmeSubsystem: &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: "nqn.2022-09.io.spdk:names"}},
	})
	must(t, err)
	ns := func(ref string) (*pb.NvmeNamespace, error) {
		return frontend.CreateNvmeNamespace(t.Context(), &pb.CreateNvmeNamespaceRequest{
			Parent: "s", NvmeNamespaceId: "n", NvmeNamespace: &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: ref}},
		})
	}
	_, err = ns("volumes/nothing")
	refused(t, "a reference to nothing", err, errdefs.NotFound, "", "nvme_namespace.spec.volume_name_ref: volumes/nothing does not exist")
	made, err := ns("volumes/a")
	if err != nil || made.GetName() != "nvmeSubsystems/s/nvmeNamespaces/n" || made.GetSpec().GetVolumeNameRef() != "volumes/a" {
		t.Errorf("namespace: %v, %v", made, err)
	}
	_, err = null.UpdateNullVolume(t.Context(), &pb.UpdateNullVolumeRequest{
		UpdateMask: everything(), NullVolume: &pb.NullVolume{Name: "volumes/a", BlockSize: 512, BlocksCount: 128},
	})
	refused(t, "another size while in use", err, errdefs.FailedPrecondition, "", "nvmeSubsystems/s/nvmeNamespaces/n")
}
