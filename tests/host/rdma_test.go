// SPDX-License-Identifier: Apache-2.0

//go:build rdma

package host_test

import (
	"fmt"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
	"github.com/opi-bridge/opi-bridge/tests/host/guest"
)

const (
	rdmaType = pb.NvmeTransportType_NVME_TRANSPORT_TYPE_RDMA
	tcpType  = pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP
	overRDMA = "nvmeRemoteControllers/storage-1/nvmePaths/over-rdma"
	overTCP  = "nvmeRemoteControllers/storage-1/nvmePaths/over-tcp"
)

// rdmaSite is a storage node with a port of each transport, a DPU with a path over each, and a kernel that
// uses the disk.
type rdmaSite struct {
	t            *testing.T
	storage, dpu *rdmaNode
	device       string
}

func newRDMASite(t *testing.T) *rdmaSite {
	t.Helper()
	s := &rdmaSite{t: t}
	s.storage, s.dpu = newRDMANodes(t)
	s.storage.subsystem("vol-1", &pb.NvmeSubsystemSpec{Nqn: storageNQN})
	s.storage.listenOn("vol-1", "on-rdma", rdmaType, s.storage.rdma, 4420)
	s.storage.listenOn("vol-1", "on-tcp", tcpType, s.storage.wire, 4420)
	s.storage.namespace("vol-1", "vol-1", &pb.NvmeNamespaceSpec{VolumeNameRef: s.storage.ram("vol-1")})

	s.dpu.controller("storage-1")
	s.dpu.path("storage-1", "over-rdma", rdmaType, s.storage.rdma, 4420, storageNQN)
	s.dpu.path("storage-1", "over-tcp", tcpType, s.storage.wire, 4420, storageNQN)
	disks := s.dpu.namespaces("storage-1")
	if len(disks) != 1 {
		t.Fatalf("over two paths the DPU sees %v, want one namespace", disks)
	}
	s.dpu.subsystem("fire", &pb.NvmeSubsystemSpec{Nqn: fireNQN})
	s.dpu.listenOn("fire", "on-tcp", tcpType, frontAddress, 4420)
	s.dpu.namespace("fire", "fire", &pb.NvmeNamespaceSpec{VolumeNameRef: disks[0].GetName(), Uuid: fireUUID})
	s.device = s.dpu.connect("tcp", frontAddress, fireNQN, fireUUID)
	s.dpu.machine.StartLoad(guest.Load{Device: s.device, Bytes: 8 * mib, IOSizeBytes: 4096, Depth: 8, WritePercent: 50, Seed: 4})
	return s
}

// under does something to the site and wants the kernel to notice nothing but a pause.
func (s *rdmaSite) under(what string, do func()) {
	s.t.Helper()
	s.dpu.machine.MarkLoad(s.device)
	do()
	s.storage.whole()
	s.dpu.whole()
	moves(s.t, s.dpu.machine, s.device, "after: "+what)
	r := s.dpu.machine.MarkLoad(s.device)
	clean(s.t, what, r)
	s.t.Logf("%-60s longest wait %8s, median %8s, %6d reads and writes in %s",
		what, milliseconds(r.Longest), milliseconds(r.Median), r.Reads+r.Writes, milliseconds(r.Elapsed))
}

// done returns how many requests a path has carried since its controller was made.
func (s *rdmaSite) done(path string) uint64 {
	s.t.Helper()
	stats, err := bridgev1.NewBridgeServiceClient(s.dpu.conn).GetStats(s.t.Context(), &bridgev1.GetStatsRequest{Name: path})
	s.dpu.must(err)
	return stats.GetReadOps() + stats.GetWriteOps()
}

// carries waits until a path has carried a good number of further requests.
func (s *rdmaSite) carries(path, when string) {
	s.t.Helper()
	const some = 200
	before := s.done(path)
	testkit.Eventually(s.t, path+" carries "+when, func() error {
		switch now := s.done(path); {
		case now < before:
			before = now // the data plane has started again
			return fmt.Errorf("it counts anew from %d", now)
		case now < before+some:
			return fmt.Errorf("%d requests since", now-before)
		}
		return nil
	})
}

// cut makes both ends of a wire lose each other without a word: what they send goes to nobody. (A card that
// is switched off would be noticed at its end, and soft-RoCE does not recover from that.)
func (s *rdmaSite) cut(card string) {
	s.t.Helper()
	s.storage.machine.Shell("arp -i " + card + " -s " + s.dpu.at(card) + " 02:00:00:00:00:01")
	s.dpu.machine.Shell("arp -i " + card + " -s " + s.storage.at(card) + " 02:00:00:00:00:01")
}

// mend undoes it.
func (s *rdmaSite) mend(card string) {
	s.t.Helper()
	s.storage.machine.Shell("arp -i " + card + " -d " + s.dpu.at(card))
	s.dpu.machine.Shell("arp -i " + card + " -d " + s.storage.at(card))
}

// handOver cuts each wire in turn: each path alone has to carry, so each has come back before.
func (s *rdmaSite) handOver(after string) {
	s.t.Helper()
	s.under("the wire of TCP is cut, "+after, func() { s.cut(tcpCard); s.carries(overRDMA, "alone") })
	s.under("it is mended, and that of RDMA is cut", func() { s.mend(tcpCard); s.cut(rdmaCard); s.carries(overTCP, "alone") })
	s.under("it is mended", func() { s.mend(rdmaCard) })
}

// TestRDMAPaths has two paths of different transports under one controller, and takes either away.
func TestRDMAPaths(t *testing.T) {
	s := newRDMASite(t)
	s.under("nothing", func() { s.carries(overRDMA, "as the first path") })
	s.handOver("for the first time")
	s.under("the listener on RDMA goes", func() { s.storage.hush("vol-1", "on-rdma"); s.carries(overTCP, "alone") })
	s.under("it comes back", func() { s.storage.listenOn("vol-1", "on-rdma", rdmaType, s.storage.rdma, 4420) })
	s.handOver("with a new listener")
	s.under("the path over RDMA moves to another port", func() {
		s.storage.listenOn("vol-1", "also-on-rdma", rdmaType, s.storage.rdma, 4421)
		path, err := s.dpu.remote.GetNvmePath(t.Context(), &pb.GetNvmePathRequest{Name: overRDMA})
		s.dpu.must(err)
		path.Fabrics.Trsvcid = 4421
		testkit.Eventually(t, "moved", func() error {
			_, err := s.dpu.remote.UpdateNvmePath(t.Context(), &pb.UpdateNvmePathRequest{
				NvmePath: path, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"fabrics.trsvcid"}},
			})
			return err
		})
		s.storage.hush("vol-1", "on-rdma")
	})
	s.handOver("with another port")
	lastLook(t, s.dpu.machine, s.device)
}

// TestRDMARestarts takes everything but the wires away.
func TestRDMARestarts(t *testing.T) {
	s := newRDMASite(t)
	s.under("the remote controller is reset", func() {
		testkit.Eventually(t, "reset", func() error { // not while a path is just being connected
			_, err := s.dpu.remote.ResetNvmeRemoteController(t.Context(), &pb.ResetNvmeRemoteControllerRequest{Name: "nvmeRemoteControllers/storage-1"})
			return err
		})
	})
	s.under("the DPU's bridge is killed and started", s.dpu.bridge.Restart)
	s.under("the DPU's SPDK is killed and started", s.dpu.dies)
	s.under("the storage node's SPDK is killed and started", s.storage.dies)
	s.handOver("after the restarts")

	s.dpu.listenOn("fire", "on-rdma", rdmaType, s.dpu.rdma, 4420)
	device := s.storage.connect("rdma", s.dpu.rdma, fireNQN, fireUUID)
	lastLook(t, s.dpu.machine, s.device)
	s.storage.machine.StartLoad(guest.Load{Device: device, Bytes: 4 * mib, IOSizeBytes: 4096, Depth: 4, WritePercent: 50, Seed: 7})
	lastLook(t, s.storage.machine, device)
}
