// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

const (
	perSubsystem = 10
	workers      = 16
	nqnPrefix    = "nqn.2024-01.io.example.soak:"
)

// site is the programs, a client, and what the client did.
type site struct {
	t         *testing.T
	redis     *testkit.RedisServer
	dataPlane *testkit.DataPlaneProcess
	bridge    *testkit.BridgeProcess
	conn      *grpc.ClientConn
	port      int
	work      work
}

func newSite(t *testing.T) *site {
	t.Helper()
	// The race detector's own memory grows with what a program does, so it is left out.
	plain := testkit.WithoutRace(t)
	s := &site{t: t, redis: testkit.Redis(t), dataPlane: testkit.DataPlane(plain, "--log-level", "warn"), port: testkit.FreePort(t)}
	s.bridge = testkit.Bridge(plain, testkit.BridgeConfig{
		SPDK: s.dataPlane.Addr(), Store: "redis://" + s.redis.Addr() + "/0",
		Flags: []string{"--log-level", "error", "--key-dir", filepath.Join(t.TempDir(), "keys")},
	})
	var err error
	s.conn, err = grpc.NewClient("dns:///"+s.bridge.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

func (s *site) volumes() pb.NullVolumeServiceClient { return pb.NewNullVolumeServiceClient(s.conn) }
func (s *site) frontend() pb.FrontendNvmeServiceClient {
	return pb.NewFrontendNvmeServiceClient(s.conn)
}

// each calls f for 0 to n-1 with many calls at a time, and fails the test with the first error.
func (s *site) each(n int, f func(ctx context.Context, i int) error) {
	s.t.Helper()
	ctx, cancel := context.WithCancelCause(s.t.Context())
	defer cancel(nil)
	var next atomic.Int64
	var clients sync.WaitGroup
	for range workers {
		clients.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	clients.Wait()
	if err := context.Cause(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// buildDisks makes the disks that stay.
func (s *site) buildDisks() {
	s.t.Helper()
	s.each(*disks, func(ctx context.Context, i int) error { return s.createVolume(ctx, fmt.Sprintf("base-%05d", i)) })
	s.each((*disks+perSubsystem-1)/perSubsystem, func(ctx context.Context, i int) error { return s.createSubsystem(ctx, fmt.Sprintf("base-%05d", i)) })
	s.each(*disks, func(ctx context.Context, i int) error {
		return s.createNamespace(ctx, fmt.Sprintf("base-%05d", i/perSubsystem), fmt.Sprintf("base-%05d", i))
	})
}

func (s *site) createVolume(ctx context.Context, id string) error {
	_, err := s.volumes().CreateNullVolume(ctx, &pb.CreateNullVolumeRequest{
		NullVolumeId: id, NullVolume: &pb.NullVolume{BlockSize: 512, BlocksCount: 2048},
	})
	return err
}

func (s *site) createSubsystem(ctx context.Context, id string) error {
	if _, err := s.frontend().CreateNvmeSubsystem(ctx, &pb.CreateNvmeSubsystemRequest{
		NvmeSubsystemId: id, NvmeSubsystem: &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: nqnPrefix + id}},
	}); err != nil {
		return err
	}
	_, err := s.frontend().CreateNvmeController(ctx, &pb.CreateNvmeControllerRequest{
		Parent: "nvmeSubsystems/" + id, NvmeControllerId: "ctrl-0",
		NvmeController: &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP,
			Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
				Traddr: "127.0.0.1", Trsvcid: fmt.Sprint(s.port), Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
			}},
		}},
	})
	return err
}

func (s *site) createNamespace(ctx context.Context, subsystem, id string) error {
	_, err := s.frontend().CreateNvmeNamespace(ctx, &pb.CreateNvmeNamespaceRequest{
		Parent: "nvmeSubsystems/" + subsystem, NvmeNamespaceId: id,
		NvmeNamespace: &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: "nullVolumes/" + id}},
	})
	return err
}

// settled waits until the bridge is ready again.
func (s *site) settled() {
	s.t.Helper()
	testkit.Eventually(s.t, "the bridge has put everything back", func() error {
		if _, err := s.volumes().DeleteNullVolume(s.t.Context(), &pb.DeleteNullVolumeRequest{Name: "nullVolumes/nothing", AllowMissing: true}); err != nil {
			return err
		}
		m, err := s.metrics()
		if err != nil {
			return err
		}
		if m["opi_bridge_data_plane_settled"] != 1 || m["opi_bridge_resources_not_ready"] != 0 {
			return fmt.Errorf("settled %v, not ready %v", m["opi_bridge_data_plane_settled"], m["opi_bridge_resources_not_ready"])
		}
		return nil
	})
}

// identity is what a host knows a disk by.
type identity struct {
	volume, uuid, nguid string
	nsid                int32
}

// disks lists, page by page, what the API shows: namespaces and volumes, by name.
func (s *site) disks() map[string]identity {
	s.t.Helper()
	all := map[string]identity{}
	for token := ""; ; {
		page, err := s.volumes().ListNullVolumes(s.t.Context(), &pb.ListNullVolumesRequest{PageSize: 100, PageToken: token})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, v := range page.GetNullVolumes() {
			all[v.GetName()] = identity{uuid: v.GetUuid()}
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	var mu sync.Mutex
	s.each((*disks+perSubsystem-1)/perSubsystem, func(ctx context.Context, i int) error {
		page, err := s.frontend().ListNvmeNamespaces(ctx, &pb.ListNvmeNamespacesRequest{Parent: fmt.Sprintf("nvmeSubsystems/base-%05d", i)})
		mu.Lock()
		defer mu.Unlock()
		for _, n := range page.GetNvmeNamespaces() {
			spec := n.GetSpec()
			all[n.GetName()] = identity{volume: spec.GetVolumeNameRef(), uuid: spec.GetUuid(), nguid: spec.GetNguid(), nsid: spec.GetHostNsid()}
		}
		return err
	})
	if len(all) != 2**disks {
		s.t.Errorf("the API shows %d volumes and namespaces, want %d", len(all), 2**disks)
	}
	return all
}

// compare wants the same disks.
func (s *site) compare(before, after map[string]identity) {
	s.t.Helper()
	differ := 0
	for name, was := range before {
		if is := after[name]; is != was {
			if differ++; differ <= 5 {
				s.t.Errorf("%s was %+v, is %+v", name, was, is)
			}
		}
	}
	if differ > 5 {
		s.t.Errorf("%d disks are not what they were", differ)
	}
}

// compareDataPlane wants just these disks in the data plane.
func (s *site) compareDataPlane(disks map[string]identity) {
	s.t.Helper()
	eye, err := spdk.New(spdk.Config{Network: "unix", Address: s.dataPlane.Socket(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- eye.Run(ctx) }()
	defer func() { cancel(); <-done }()
	var there *driver.Observation
	testkit.Eventually(s.t, "the data plane answers", func() (err error) {
		there, err = eye.Observe(ctx)
		return err
	})
	bdevs, namespaces := 0, 0
	for _, o := range there.Objects {
		switch o := o.(type) {
		case *driver.Bdev:
			bdevs++
			if was := disks["nullVolumes/"+o.Name]; was.uuid != o.UUID {
				s.t.Errorf("bdev %s has uuid %s, want %s", o.Name, o.UUID, was.uuid)
			}
		case *driver.Namespace:
			namespaces++
			name := "nvmeSubsystems/" + strings.TrimPrefix(o.Subsystem, nqnPrefix) + "/nvmeNamespaces/" + o.Bdev
			if was := disks[name]; was.uuid != o.UUID || was.nguid != o.NGUID || uint32(was.nsid) != o.NSID {
				s.t.Errorf("%s is %+v in the data plane, want %+v", name, o, was)
			}
		}
	}
	if 2*bdevs != len(disks) || 2*namespaces != len(disks) {
		s.t.Errorf("the data plane has %d bdevs and %d namespaces, want %d of each", bdevs, namespaces, len(disks)/2)
	}
}

// round keeps the load up for that long, and lets the fault happen in the middle. What the load made it
// takes away again.
func (s *site) round(number int, what fault, length time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), length)
	defer cancel()
	s.work.begin(what != none)
	var load sync.WaitGroup
	for w := range workers {
		load.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				s.cycle(fmt.Sprintf("r%d-w%d-n%d", number, w, n), (number*workers+w+n)%*disks)
			}
		})
	}
	middle := time.NewTimer(length / 2)
	defer middle.Stop()
	<-middle.C
	switch what {
	case none:
	case killed:
		s.bridge.Restart()
	case dataPlane:
		s.dataPlane.Restart()
	case storeGone:
		s.redis.Kill()
		s.redis.Start()
	}
	load.Wait()
	for _, err := range s.work.unexpected() {
		s.t.Errorf("round %d, %s: %v", number, what, err)
	}
}
