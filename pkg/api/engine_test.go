// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs/errgrpc"
	"github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dial starts the API on an engine with a data plane of its own and returns a connection to it.
func dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	return serve(t, testkit.DataPlane(t), engine.Config{}, api.Register)
}

// serve starts an API on an engine with that data plane and returns a connection to it.
func serve(t *testing.T, plane *testkit.DataPlaneProcess, cfg engine.Config, register func(grpc.ServiceRegistrar, api.Engine) error) *grpc.ClientConn {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	records, err := bolt.New(bolt.Config{URL: "bolt://" + filepath.Join(t.TempDir(), "state.db")})
	must(t, err)
	driver, err := spdk.New(spdk.Config{Network: "unix", Address: plane.Socket(), Log: log})
	must(t, err)
	all, err := kinds.All()
	must(t, err)
	cfg.Driver, cfg.Store, cfg.Kinds, cfg.Log = driver, records, all, log
	eng, err := engine.New(cfg)
	must(t, err)
	server := grpc.NewServer(grpc.UnaryInterceptor(errgrpc.UnaryServer))
	must(t, register(server, eng))
	must(t, api.RegisterBridge(server, eng, func() api.Facts { return api.Facts{Ready: true, Version: "test", Instance: "here", Durability: "good"} }))
	api.RegisterInventory(server, "")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 3)
	go func() { ended <- driver.Run(ctx) }()
	go func() { ended <- eng.Run(ctx) }()
	go func() { ended <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(errgrpc.UnaryClient))
	must(t, err)
	t.Cleanup(func() {
		_ = conn.Close()
		server.GracefulStop()
		cancel()
		for range cap(ended) {
			must(t, <-ended)
		}
		must(t, records.Close())
	})
	testkit.Eventually(t, "the engine has settled", func() error {
		if s := eng.Status(); !s.Settled {
			return fmt.Errorf("status is %+v", s)
		}
		return nil
	})
	return conn
}

// refused checks that err is of the class, about the field and says so.
func refused(t *testing.T, what string, err error, class errdefs.Class, field, says string) {
	t.Helper()
	about := ""
	if fields := errdefs.Fields(err); len(fields) > 0 {
		about = fields[0].Field
	}
	if !errors.Is(err, class) || about != field || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v (%s, field %q), want %s about %q that says %q", what, err, errdefs.ClassOf(err), about, class, field, says)
	}
}

func TestAPI(t *testing.T) {
	t.Parallel()
	conn := dial(t)
	t.Run("create", func(t *testing.T) { creates(t, conn) })
	t.Run("read", func(t *testing.T) { reads(t, conn) })
	t.Run("pages", func(t *testing.T) { pages(t, conn) })
	t.Run("update", func(t *testing.T) { updates(t, conn) })
	t.Run("delete", func(t *testing.T) { deletes(t, conn) })
}

// nullVolume is of 1 MiB: the data plane resizes null volumes by whole MiB.
func nullVolume() *pb.NullVolume { return &pb.NullVolume{BlockSize: 512, BlocksCount: 2048} }

func creates(t *testing.T, conn *grpc.ClientConn) {
	volumes, subsystems := pb.NewNullVolumeServiceClient(conn), pb.NewFrontendNvmeServiceClient(conn)
	create := func(id string, change func(*pb.NullVolume)) (*pb.NullVolume, error) {
		v := nullVolume()
		change(v)
		return volumes.CreateNullVolume(t.Context(), &pb.CreateNullVolumeRequest{NullVolumeId: id, NullVolume: v})
	}
	made, err := create("vol-named", func(v *pb.NullVolume) { v.Name = "nullVolumes/vol-named" })
	if err != nil || made.GetName() != "nullVolumes/vol-named" || made.GetUuid() == "" {
		t.Errorf("with its own name: %v, %v", made, err)
	}
	made, err = create("", func(*pb.NullVolume) {})
	if id, ok := strings.CutPrefix(made.GetName(), "nullVolumes/"); err != nil || !ok || len(id) != 36 {
		t.Errorf("without an id: %v, %v", made, err)
	}
	_, err = create("vol-b", func(v *pb.NullVolume) { v.Name = "nullVolumes/vol-c" })
	refused(t, "another name", err, errdefs.InvalidArgument, "null_volume.name", `"nullVolumes/vol-b"`)
	_, err = create("", func(v *pb.NullVolume) { v.Name = "nullVolumes/vol-c" })
	refused(t, "a name without an id", err, errdefs.InvalidArgument, "null_volume.name", "null_volume_id")
	_, err = create("vol-b", func(v *pb.NullVolume) {
		v.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 77, protowire.VarintType), 1))
	})
	refused(t, "an unknown field", err, errdefs.InvalidArgument, "null_volume.#77", "does not have")
	_, err = volumes.CreateNullVolume(t.Context(), &pb.CreateNullVolumeRequest{NullVolumeId: "vol-b"})
	refused(t, "nothing", err, errdefs.InvalidArgument, "null_volume", "must be set")

	namespace := &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: "nullVolumes/vol-named"}}
	_, err = subsystems.CreateNvmeNamespace(t.Context(), &pb.CreateNvmeNamespaceRequest{NvmeNamespace: namespace, NvmeNamespaceId: "disk-1"})
	refused(t, "no parent", err, errdefs.InvalidArgument, "parent", "nvmeSubsystems/{subsystem}")
	_, err = subsystems.CreateNvmeNamespace(t.Context(), &pb.CreateNvmeNamespaceRequest{Parent: "nullVolumes/vol-named", NvmeNamespace: namespace})
	refused(t, "a parent of another kind", err, errdefs.InvalidArgument, "parent", "nvmeSubsystems/{subsystem}")
}

func reads(t *testing.T, conn *grpc.ClientConn) {
	volumes := pb.NewNullVolumeServiceClient(conn)
	got, err := volumes.GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{Name: "nullVolumes/vol-named"})
	if err != nil || got.GetBlockSize() != 512 {
		t.Errorf("get: %v, %v", got, err)
	}
	stats, err := volumes.StatsNullVolume(t.Context(), &pb.StatsNullVolumeRequest{Name: "nullVolumes/vol-named"})
	if err != nil || stats.GetStats() == nil {
		t.Errorf("stats: %v, %v", stats, err)
	}
	for what, name := range map[string]string{
		"no name": "", "another collection": "mallocVolumes/vol-named", "an id only": "vol-named", "a name below": "nullVolumes/vol-named/x", "odd characters": "nullVolumes/vol\x00",
	} {
		_, err := volumes.GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{Name: name})
		refused(t, "get: "+what, err, errdefs.InvalidArgument, "name", "nullVolumes/{")
		_, err = volumes.StatsNullVolume(t.Context(), &pb.StatsNullVolumeRequest{Name: name})
		refused(t, "stats: "+what, err, errdefs.InvalidArgument, "name", "nullVolumes/{")
	}
	_, err = volumes.GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{Name: "nullVolumes/none"})
	refused(t, "get: nothing there", err, errdefs.NotFound, "", "nullVolumes/none")
	_, err = pb.NewNvmeRemoteControllerServiceClient(conn).ResetNvmeRemoteController(t.Context(), &pb.ResetNvmeRemoteControllerRequest{Name: "nvmeRemoteControllers/none"})
	refused(t, "reset: nothing there", err, errdefs.NotFound, "", "nvmeRemoteControllers/none")
}

// Pages are sorted and complete, and go on rightly when what the token names is gone.
func pages(t *testing.T, conn *grpc.ClientConn) {
	volumes := pb.NewMallocVolumeServiceClient(conn)
	var want []string
	for i := range 8 {
		id := fmt.Sprintf("page-%d", 7-i)
		_, err := volumes.CreateMallocVolume(t.Context(), &pb.CreateMallocVolumeRequest{MallocVolumeId: id, MallocVolume: &pb.MallocVolume{BlockSize: 512, BlocksCount: 8}})
		must(t, err)
		want = append([]string{"mallocVolumes/" + id}, want...)
	}
	list := func(size int32, token string) ([]string, string, error) {
		page, err := volumes.ListMallocVolumes(t.Context(), &pb.ListMallocVolumesRequest{PageSize: size, PageToken: token})
		var names []string
		for _, v := range page.GetMallocVolumes() {
			names = append(names, v.GetName())
		}
		return names, page.GetNextPageToken(), err
	}
	for _, size := range []int32{0, 1, 3, 8, 2_000_000_000} {
		var got []string
		for token := ""; ; {
			names, next, err := list(size, token)
			must(t, err)
			got = append(got, names...)
			if token = next; token == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %q", size, got)
		}
	}

	_, token, err := list(3, "")
	must(t, err)
	_, err = volumes.DeleteMallocVolume(t.Context(), &pb.DeleteMallocVolumeRequest{Name: want[2]})
	must(t, err)
	if names, _, err := list(3, token); err != nil || !slices.Equal(names, want[3:6]) {
		t.Errorf("after the page's last item is gone: %q, %v", names, err)
	}
	_, _, err = list(-1, "")
	refused(t, "a negative size", err, errdefs.InvalidArgument, "page_size", "-1")
	_, _, err = list(3, "nonsense")
	refused(t, "a token that is none", err, errdefs.InvalidArgument, "page_token", "stale or foreign")
	_, err = pb.NewNullVolumeServiceClient(conn).ListNullVolumes(t.Context(), &pb.ListNullVolumesRequest{PageToken: token})
	refused(t, "a token of another collection", err, errdefs.InvalidArgument, "page_token", "stale or foreign")
	_, err = pb.NewFrontendNvmeServiceClient(conn).ListNvmeNamespaces(t.Context(), &pb.ListNvmeNamespacesRequest{})
	refused(t, "no parent", err, errdefs.InvalidArgument, "parent", "must be set")
	_, err = pb.NewFrontendNvmeServiceClient(conn).ListNvmeNamespaces(t.Context(), &pb.ListNvmeNamespacesRequest{Parent: "nvmeSubsystems/none"})
	refused(t, "a parent that does not exist", err, errdefs.NotFound, "", "nvmeSubsystems/none")
}

func updates(t *testing.T, conn *grpc.ClientConn) {
	volumes := pb.NewNullVolumeServiceClient(conn)
	update := func(v *pb.NullVolume, paths ...string) (*pb.NullVolume, error) {
		req := &pb.UpdateNullVolumeRequest{NullVolume: v}
		if paths != nil {
			req.UpdateMask = &fieldmaskpb.FieldMask{Paths: paths}
		}
		return volumes.UpdateNullVolume(t.Context(), req)
	}
	before, err := volumes.GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{Name: "nullVolumes/vol-named"})
	must(t, err)
	named := func(blocks int64) *pb.NullVolume { return &pb.NullVolume{Name: before.GetName(), BlocksCount: blocks} }

	if got, err := update(named(4096)); err != nil || got.GetBlocksCount() != 4096 || got.GetBlockSize() != 512 {
		t.Errorf("without a mask: %v, %v", got, err)
	}
	if got, err := update(&pb.NullVolume{Name: before.GetName(), BlocksCount: 8192, BlockSize: 4096}, "blocks_count"); err != nil || got.GetBlocksCount() != 8192 || got.GetBlockSize() != 512 {
		t.Errorf("with a mask: %v, %v", got, err)
	}
	whole := proto.CloneOf(before)
	whole.BlocksCount = 16384
	if got, err := update(whole, "*"); err != nil || !proto.Equal(got, whole) {
		t.Errorf("as a whole: %v, %v", got, err)
	}
	// A mask of what cannot be changed at all changes nothing.
	if got, err := update(named(2048), "name"); err != nil || got.GetBlocksCount() != 16384 {
		t.Errorf("of the name: %v, %v", got, err)
	}
	_, err = update(named(2048), "")
	refused(t, "an empty path", err, errdefs.InvalidArgument, "update_mask", "empty path")
	_, err = update(named(2048), "blockscount")
	refused(t, "an unknown path", err, errdefs.InvalidArgument, "update_mask", "blockscount")
	_, err = update(named(2048), "*", "uuid")
	refused(t, "everything and more", err, errdefs.InvalidArgument, "update_mask", "only path")
	_, err = update(&pb.NullVolume{BlocksCount: 64})
	refused(t, "no name", err, errdefs.InvalidArgument, "null_volume.name", "must be set")
	_, err = volumes.UpdateNullVolume(t.Context(), &pb.UpdateNullVolumeRequest{})
	refused(t, "nothing", err, errdefs.InvalidArgument, "null_volume", "must be set")
	_, err = update(&pb.NullVolume{Name: "nullVolumes/none", BlocksCount: 64})
	refused(t, "nothing there", err, errdefs.NotFound, "", "nullVolumes/none")
	fresh := nullVolume()
	fresh.Name = "nullVolumes/vol-fresh"
	got, err := volumes.UpdateNullVolume(t.Context(), &pb.UpdateNullVolumeRequest{NullVolume: fresh, AllowMissing: true})
	if err != nil || got.GetName() != fresh.GetName() {
		t.Errorf("allow_missing: %v, %v", got, err)
	}
}

func deletes(t *testing.T, conn *grpc.ClientConn) {
	volumes := pb.NewNullVolumeServiceClient(conn)
	remove := func(name string, allowMissing bool) error {
		_, err := volumes.DeleteNullVolume(t.Context(), &pb.DeleteNullVolumeRequest{Name: name, AllowMissing: allowMissing})
		return err
	}
	must(t, remove("nullVolumes/vol-named", false))
	refused(t, "again", remove("nullVolumes/vol-named", false), errdefs.NotFound, "", "nullVolumes/vol-named")
	must(t, remove("nullVolumes/vol-named", true))
	refused(t, "no name", remove("", true), errdefs.InvalidArgument, "name", "must be set")
}
