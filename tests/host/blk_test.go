// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/host/guest"
	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

const (
	memoryNQN = "nqn.2024-01.io.example.storage:memory"
	fileNQN   = "nqn.2024-01.io.example.storage:file"
)

// useFilesystem makes a partition and a file system, writes, and reads it again behind the cache.
const useFilesystem = `set -e
printf 'o\nn\np\n1\n\n\nw\n' | fdisk %[1]s
partprobe %[1]s
test -b %[1]s1
mke2fs -L volume %[1]s1
mount -t ext2 %[1]s1 /mnt
dd if=/dev/urandom of=/mnt/one bs=64k count=40
cp /mnt/one /mnt/two
(cd /mnt && sha256sum one two > sums)
sync
umount /mnt
echo 3 > /proc/sys/vm/drop_caches
mount -t ext2 %[1]s1 /mnt
(cd /mnt && sha256sum -c sums)
rm /mnt/two
sync
fstrim -v /mnt
(cd /mnt && head -n 1 sums | sha256sum -c)
`

// findFile looks for what useFilesystem has left.
const findFile = `set -e
mount -t ext2 %[1]s1 /mnt
cd /mnt
head -n 1 sums | sha256sum -c
test ! -e two
`

// virtioBlk makes a virtio disk of a volume, as the so-manieth physical function, and returns the path
// of its socket.
func (n *node) virtioBlk(dir, id, volume string, function int) string {
	n.t.Helper()
	_, err := pb.NewFrontendVirtioBlkServiceClient(n.conn).CreateVirtioBlk(n.t.Context(), &pb.CreateVirtioBlkRequest{
		VirtioBlkId: id, VirtioBlk: &pb.VirtioBlk{
			VolumeNameRef: volume,
			PcieId: &pb.PciEndpoint{
				PortId: wrapperspb.Int32(0), PhysicalFunction: wrapperspb.Int32(int32(function)), VirtualFunction: wrapperspb.Int32(0),
			},
		},
	})
	n.must(err)
	return filepath.Join(dir, id)
}

// TestVirtioBlkHost has a guest with two virtio disks, whose data lies on a storage node: one in
// memory, which can be discarded, and one in a file, which survives the storage node.
func TestVirtioBlkHost(t *testing.T) {
	sockets := testkit.SocketDir(t)
	storage, dpu := newNode(t), newNode(t, "--vhost-dir", sockets)
	inMemory, inFile := testkit.FreePort(t), testkit.FreePort(t)
	m, err := pb.NewMallocVolumeServiceClient(storage.conn).CreateMallocVolume(t.Context(), &pb.CreateMallocVolumeRequest{
		MallocVolumeId: "memory", MallocVolume: &pb.MallocVolume{BlockSize: 512, BlocksCount: 16 * mib / 512},
	})
	storage.must(err)
	storage.export("memory", memoryNQN, "", m.GetName(), inMemory)
	file := storage.file("file", 8*mib)
	storage.export("file", fileNQN, "", file, inFile)
	var devices []string
	for i, volume := range []string{
		dpu.attach("memory", memoryNQN, inMemory)[0].GetName(), dpu.attach("file", fileNQN, inFile)[0].GetName(),
	} {
		id := fmt.Sprintf("disk-%d", i)
		devices = append(devices, machine.VhostUserBlk(id, dpu.virtioBlk(sockets, id, volume, i), i+1)...)
	}

	cfg := machine.Config{Modules: []string{"virtio_blk"}, Processors: 2, Devices: devices}
	g := machine.Start(t, cfg)[0]
	g.LoadModules("virtio_blk")
	trimmed := "/dev/" + find(t, g, "the disk in memory", func(d guest.Disk) bool { return d.SizeBytes == 16*mib }).Name
	burnt := "/dev/" + find(t, g, "the disk in a file", func(d guest.Disk) bool { return d.SizeBytes == 8*mib }).Name

	t.Run("discard and zeroes", func(*testing.T) {
		g.Shell(fmt.Sprintf("set -e; dd if=/dev/urandom of=%[1]s bs=1M count=4; sync; blkdiscard -o 0 -l %[2]d %[1]s; sync; "+
			"echo 3 > /proc/sys/vm/drop_caches; cmp -n %[2]d %[1]s /dev/zero", trimmed, mib))
		g.Zero(guest.Range{Device: trimmed, Offset: mib, Bytes: mib})
		g.Shell(fmt.Sprintf("cmp -n %d %s /dev/zero", 2*mib, trimmed))
	})
	t.Run("discard frees the file", func(t *testing.T) {
		v, err := pb.NewAioVolumeServiceClient(storage.conn).GetAioVolume(t.Context(), &pb.GetAioVolumeRequest{Name: file})
		storage.must(err)
		g.Shell("dd if=/dev/urandom of=" + burnt + " bs=1M count=4 conv=fsync")
		full := allocated(t, v.GetFilename())
		g.Shell(fmt.Sprintf("blkdiscard -o %d -l %d %s", mib, 2*mib, burnt))
		if left := allocated(t, v.GetFilename()); full < 4*mib || left > full-2*mib {
			t.Errorf("the file takes %d bytes of its file system with 4 MiB written, and %d after 2 MiB were discarded", full, left)
		}
	})
	t.Run("file system", func(t *testing.T) {
		out := g.Shell(fmt.Sprintf(useFilesystem, trimmed))
		if !strings.Contains(out, "trimmed") {
			t.Errorf("nothing was discarded: %s", out)
		}
	})
	t.Run("power cycle", func(*testing.T) {
		g.Kill()
		g = machine.Start(t, cfg)[0]
		g.LoadModules("virtio_blk")
		g.Shell(fmt.Sprintf(findFile, trimmed))
	})
	t.Run("under fire", func(t *testing.T) { blkUnderFire(t, storage, dpu, g, burnt) })
	t.Run("growth", func(t *testing.T) {
		files := pb.NewAioVolumeServiceClient(storage.conn)
		v, err := files.GetAioVolume(t.Context(), &pb.GetAioVolumeRequest{Name: file})
		storage.must(err)
		storage.must(os.Truncate(v.GetFilename(), 12*mib))
		v.BlocksCount = 12 * mib / 512
		_, err = files.UpdateAioVolume(t.Context(), &pb.UpdateAioVolumeRequest{
			AioVolume: v, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"blocks_count"}},
		})
		storage.must(err)
		find(t, g, "a disk of 12 MiB", func(d guest.Disk) bool { return d.SizeBytes == 12*mib })
	})
}

// allocated returns how much of its file system a file takes, in bytes.
func allocated(t *testing.T, path string) int64 {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Blocks * 512 // the unit of st_blocks, whatever the file system
}

// blkUnderFire restarts everything behind a virtio disk under verified I/O.
func blkUnderFire(t *testing.T, storage, dpu *node, g *machine.Machine, device string) {
	t.Helper()
	g.StartLoad(guest.Load{Device: device, IOSizeBytes: 4096, Depth: 8, WritePercent: 50, Seed: 9})
	for _, fire := range []struct {
		what string
		do   func()
	}{
		{"nothing", func() {}},
		{"the DPU's bridge is killed and started", dpu.bridge.Restart},
		{"the DPU's data plane is killed and started", dpu.dataPlane.Restart},
		{"and four times more", func() {
			for range 4 {
				dpu.whole()
				moves(t, g, device, "between deaths")
				dpu.dataPlane.Restart()
			}
		}},
		{"the DPU's data plane and bridge are killed and started", func() {
			dpu.bridge.Kill()
			dpu.dataPlane.Restart()
			dpu.bridge.Start()
		}},
		{"the data plane of the storage node is killed and started", func() {
			storage.dataPlane.Restart()
		}},
	} {
		g.MarkLoad(device)
		fire.do()
		storage.whole()
		dpu.whole()
		moves(t, g, device, "after: "+fire.what)
		r := g.MarkLoad(device)
		clean(t, fire.what, r)
		t.Logf("%-57s longest wait %8s, median %8s, %6d reads and writes in %s",
			fire.what, milliseconds(r.Longest), milliseconds(r.Median), r.Reads+r.Writes, milliseconds(r.Elapsed))
	}
	lastLook(t, g, device)
}
