// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/host/guest"
	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

const (
	diskNQN    = "nqn.2024-01.io.example.dpu:disks"
	allowedNQN = "nqn.2024-01.io.example:host-1"
	otherNQN   = "nqn.2024-01.io.example:host-2"
	// discoveryNQN is that of every discovery service (NVMe Base Specification 2.0, section 3.1.2.3).
	discoveryNQN = "nqn.2014-08.org.nvmexpress.discovery"
)

// TestNVMeHosts has two guests and one subsystem that only the first may use.
func TestNVMeHosts(t *testing.T) {
	dpu := newNode(t)
	port := testkit.FreePort(t)
	subsystem := &pb.NvmeSubsystemSpec{Nqn: diskNQN, Hostnqn: allowedNQN, SerialNumber: "SN 0815-4711", ModelNumber: "A model with a name"}
	dpu.subsystem("disks", subsystem)
	dpu.listen("disks", "port-0", port)
	file := dpu.file("file", 16*mib)
	first := dpu.namespace("disks", "first", &pb.NvmeNamespaceSpec{
		VolumeNameRef: file, HostNsid: 7, Uuid: "6b1c2e5a-0d3f-4f7a-9a51-3f0c9a7d1e42",
		Nguid: "0123456789abcdeffedcba9876543210", Eui64: 0x0011223344556677,
	})

	machines := machine.Start(t, machine.Config{Modules: []string{"nvme_tcp"}, Processors: 2}, machine.Config{Modules: []string{"nvme_tcp"}})
	allowed, other := machines[0], machines[1]
	allowed.LoadModules("nvme_tcp")
	other.LoadModules("nvme_tcp")

	dpu.must(allowed.Connect(options(port, diskNQN, allowedNQN)))
	t.Run("identity", func(t *testing.T) {
		d := find(t, allowed, "the first disk", byUUID(first.GetSpec().GetUuid()))
		same(t, d, first, subsystem)
		if d.SizeBytes != 16*mib || d.BlockSizeBytes != 512 {
			t.Errorf("it has %d bytes in blocks of %d", d.SizeBytes, d.BlockSizeBytes)
		}
		device := "/dev/" + d.Name
		allowed.StartLoad(guest.Load{Device: device, Bytes: 4 * mib, IOSizeBytes: 4096, Depth: 4, WritePercent: 50, Seed: 2})
		moves(t, allowed, device, "on a new disk")
		clean(t, "a new disk", allowed.StopLoad(device))
	})
	t.Run("not on the list", func(t *testing.T) {
		if err := other.Connect(options(port, diskNQN, otherNQN)); err == nil {
			t.Errorf("%s got in: it sees %+v", otherNQN, other.Disks())
		}
		if disks := other.Disks(); len(disks) > 0 {
			t.Errorf("%s sees %+v", otherNQN, disks)
		}
		log := other.Shell("dmesg | grep -i nvme")
		if !strings.Contains(log, "allow") {
			t.Errorf("the kernel was not told why: %s", log)
		}
	})
	t.Run("discovery", func(t *testing.T) {
		dpu.must(other.Connect(fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=%s,hostnqn=%s,keep_alive_tmo=5",
			machine.HostAddress, port, discoveryNQN, otherNQN)))
		if got := strings.Fields(other.Shell("cd /sys/class/nvme/nvme*; cat cntrltype state; echo 1 > delete_controller")); !slices.Equal(got, []string{"discovery", "live"}) {
			t.Errorf("the discovery controller is %q", got)
		}
	})
	t.Run("changes", func(t *testing.T) { changes(t, dpu, allowed, file, first, subsystem) })
	t.Run("digests and queues", func(t *testing.T) {
		allowed.Shell("echo 1 > /sys/class/nvme/nvme0/delete_controller")
		dpu.must(allowed.Connect(options(port, diskNQN, allowedNQN) + ",hdr_digest,data_digest,nr_io_queues=2,queue_size=16"))
		device := "/dev/" + find(t, allowed, "the first disk", byUUID(first.GetSpec().GetUuid())).Name
		// Requests of this size do not fit into a capsule: the target asks for their data.
		allowed.StartLoad(guest.Load{Device: device, Bytes: 8 * mib, IOSizeBytes: 128 << 10, Depth: 8, WritePercent: 50, Seed: 3})
		moves(t, allowed, device, "with digests")
		clean(t, "with digests", allowed.StopLoad(device))
		allowed.Zero(guest.Range{Device: device, Bytes: 4 * mib})
		allowed.Shell(fmt.Sprintf("cmp -n %d %s /dev/zero", 4*mib, device))
	})
	t.Run("handed over", func(t *testing.T) {
		subsystem.Hostnqn = otherNQN
		_, err := dpu.front.UpdateNvmeSubsystem(t.Context(), &pb.UpdateNvmeSubsystemRequest{
			NvmeSubsystem: &pb.NvmeSubsystem{Name: "nvmeSubsystems/disks", Spec: subsystem},
			UpdateMask:    &fieldmaskpb.FieldMask{Paths: []string{"spec.hostnqn"}},
		})
		dpu.must(err)
		dpu.must(other.Connect(options(port, diskNQN, otherNQN)))
		find(t, other, "the first disk", byUUID(first.GetSpec().GetUuid()))
		// A kernel that was told to wait for its disks for ever goes on asking.
		testkit.Eventually(t, "the old host is out", func() error {
			if state := strings.TrimSpace(allowed.Shell("cat /sys/class/nvme/nvme*/state")); state != "connecting" {
				return fmt.Errorf("it is %s", state)
			}
			return nil
		})
	})
}

// same wants a disk to be what was asked for.
func same(t *testing.T, d guest.Disk, ns *pb.NvmeNamespace, subsystem *pb.NvmeSubsystemSpec) {
	t.Helper()
	spec := ns.GetSpec()
	for what, pair := range map[string][2]string{
		"uuid":   {d.UUID, spec.GetUuid()},
		"nguid":  {hex(d.NGUID), spec.GetNguid()},
		"eui64":  {hex(d.EUI64), eui64(spec.GetEui64())},
		"nsid":   {d.NSID, strconv.Itoa(int(spec.GetHostNsid()))},
		"serial": {d.Serial, subsystem.GetSerialNumber()},
		"model":  {d.Model, subsystem.GetModelNumber()},
		"nqn":    {d.SubsystemNQN, subsystem.GetNqn()},
		"wwid":   {d.WWID, "uuid." + spec.GetUuid()},
	} {
		if pair[0] != pair[1] {
			t.Errorf("the guest sees %s %q, asked for was %q", what, pair[0], pair[1])
		}
	}
}

// eui64 returns the kernel's digits; a namespace without one has no attribute.
func eui64(id int64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", id)
}

// changes adds disks to a running guest, lets them grow, and takes them away.
func changes(t *testing.T, dpu *node, m *machine.Machine, file string, first *pb.NvmeNamespace, subsystem *pb.NvmeSubsystemSpec) {
	t.Helper()
	volumes := pb.NewNullVolumeServiceClient(dpu.conn)
	volume, err := volumes.CreateNullVolume(t.Context(), &pb.CreateNullVolumeRequest{
		NullVolumeId: "null", NullVolume: &pb.NullVolume{BlockSize: 4096, BlocksCount: 8 * mib / 4096},
	})
	dpu.must(err)
	second := dpu.namespace("disks", "second", &pb.NvmeNamespaceSpec{VolumeNameRef: volume.GetName()})
	isSecond := byUUID(second.GetSpec().GetUuid())
	d := find(t, m, "the second disk", isSecond)
	same(t, d, second, subsystem)
	if d.SizeBytes != 8*mib || d.BlockSizeBytes != 4096 {
		t.Errorf("it has %d bytes in blocks of %d", d.SizeBytes, d.BlockSizeBytes)
	}

	volume.BlocksCount *= 3
	_, err = volumes.UpdateNullVolume(t.Context(), &pb.UpdateNullVolumeRequest{
		NullVolume: volume, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"blocks_count"}},
	})
	dpu.must(err)
	find(t, m, "a second disk of 24 MiB", func(d guest.Disk) bool { return isSecond(d) && d.SizeBytes == 24*mib })

	files := pb.NewAioVolumeServiceClient(dpu.conn)
	v, err := files.GetAioVolume(t.Context(), &pb.GetAioVolumeRequest{Name: file})
	dpu.must(err)
	dpu.must(os.Truncate(v.GetFilename(), 32*mib))
	v.BlocksCount = 32 * mib / 512
	_, err = files.UpdateAioVolume(t.Context(), &pb.UpdateAioVolumeRequest{
		AioVolume: v, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"blocks_count"}},
	})
	dpu.must(err)
	isFirst := byUUID(first.GetSpec().GetUuid())
	find(t, m, "a first disk of 32 MiB", func(d guest.Disk) bool { return isFirst(d) && d.SizeBytes == 32*mib })

	_, err = dpu.front.DeleteNvmeNamespace(t.Context(), &pb.DeleteNvmeNamespaceRequest{Name: second.GetName()})
	dpu.must(err)
	gone(t, m, "the second disk", isSecond)
	find(t, m, "the first disk still", isFirst)
	dpu.namespace("disks", "second", second.GetSpec())
	find(t, m, "the second disk again", isSecond)

	larger, err := volumes.CreateNullVolume(t.Context(), &pb.CreateNullVolumeRequest{
		NullVolumeId: "larger", NullVolume: &pb.NullVolume{BlockSize: 4096, BlocksCount: 40 * mib / 4096},
	})
	dpu.must(err)
	second.Spec.VolumeNameRef = larger.GetName()
	_, err = dpu.front.UpdateNvmeNamespace(t.Context(), &pb.UpdateNvmeNamespaceRequest{
		NvmeNamespace: second, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"spec.volume_name_ref"}},
	})
	dpu.must(err)
	d = find(t, m, "the second disk with another volume", func(d guest.Disk) bool { return isSecond(d) && d.SizeBytes == 40*mib })
	same(t, d, second, subsystem)
}
