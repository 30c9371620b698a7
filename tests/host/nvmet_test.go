// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"fmt"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/host/guest"
	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

const (
	kernelNQN  = "nqn.2024-01.io.example.kernel:target"
	kernelUUID = "5d2f4b0c-7c1e-4a52-8f6a-2f1f0c9e7a01"
	grownUUID  = "5d2f4b0c-7c1e-4a52-8f6a-2f1f0c9e7a02"
	relayNQN   = "nqn.2024-01.io.example.dpu:relayed"
	grownNQN   = "nqn.2024-01.io.example.dpu:grown"
	nvmetPort  = 4420
)

// serveWithNvmet makes the kernel's target serve a disk in memory and a file, which can grow.
const serveWithNvmet = `set -e
mount -t configfs none /sys/kernel/config
truncate -s 8M /tmp/disk
cd /sys/kernel/config/nvmet
mkdir subsystems/%[1]s
cd subsystems/%[1]s
echo 1 > attr_allow_any_host
mkdir namespaces/1 namespaces/2
echo -n /dev/ram0 > namespaces/1/device_path
echo -n %[2]s > namespaces/1/device_uuid
echo -n %[2]s > namespaces/1/device_nguid
echo -n /tmp/disk > namespaces/2/device_path
echo 1 > namespaces/2/buffered_io
echo -n %[3]s > namespaces/2/device_uuid
echo -n %[3]s > namespaces/2/device_nguid
echo 1 > namespaces/1/enable
echo 1 > namespaces/2/enable
cd ../..
mkdir ports/1
cd ports/1
echo -n ipv4 > addr_adrfam
echo -n tcp > addr_trtype
echo -n 10.0.2.15 > addr_traddr
echo -n %[4]d > addr_trsvcid
ln -s ../../subsystems/%[1]s subsystems/%[1]s
`

// TestKernelTargetAsStorageNode puts the DPU between two kernels, here the same one: its NVMe/TCP
// target holds the data, its NVMe/TCP host uses the disks.
func TestKernelTargetAsStorageNode(t *testing.T) {
	here, front, grown := testkit.FreePort(t), testkit.FreePort(t), testkit.FreePort(t)
	m := machine.Start(t, machine.Config{
		Modules: []string{"nvme_tcp", "nvmet_tcp", "brd"}, Forwards: []machine.Forward{{Here: here, Guest: nvmetPort}},
	})[0]
	m.LoadModules("nvme_tcp", "nvmet_tcp", "brd rd_nr=1 rd_size=16384")
	m.Shell(fmt.Sprintf(serveWithNvmet, kernelNQN, kernelUUID, grownUUID, nvmetPort))

	dpu := newNode(t)
	volumes := map[string]string{}
	for _, ns := range dpu.attach("kernel", kernelNQN, here) {
		volumes[ns.GetUuid()] = ns.GetName()
	}
	if len(volumes) != 2 || volumes[kernelUUID] == "" || volumes[grownUUID] == "" {
		t.Fatalf("the kernel shows %v", volumes)
	}
	dpu.export("relayed", relayNQN, fireUUID, volumes[kernelUUID], front)
	dpu.must(m.Connect(options(front, relayNQN, allowedNQN)))
	disk := find(t, m, "the disk through the DPU", byUUID(fireUUID))
	if disk.SizeBytes != 16*mib || disk.BlockSizeBytes != 512 {
		t.Errorf("it has %d bytes in blocks of %d", disk.SizeBytes, disk.BlockSizeBytes)
	}
	device := "/dev/" + disk.Name
	m.StartLoad(guest.Load{Device: device, Bytes: 8 * mib, IOSizeBytes: 16384, Depth: 4, WritePercent: 50, Seed: 6})
	report := func(what string) {
		t.Helper()
		moves(t, m, device, "after: "+what)
		r := m.MarkLoad(device)
		clean(t, what, r)
		t.Logf("%-55s longest wait %8s, median %8s, %6d reads and writes", what, milliseconds(r.Longest), milliseconds(r.Median), r.Reads+r.Writes)
	}
	report("nothing")

	t.Run("target away", func(*testing.T) {
		link := "/sys/kernel/config/nvmet/ports/1/subsystems/" + kernelNQN
		m.Shell("rm " + link)
		m.Shell("ln -s /sys/kernel/config/nvmet/subsystems/" + kernelNQN + " " + link)
		report("the kernel's target goes and comes back")
	})
	t.Run("initiator away", func(*testing.T) {
		dpu.dataPlane.Restart()
		dpu.whole()
		report("the DPU's data plane is killed and started")
	})
	t.Run("growth", func(t *testing.T) {
		ns := dpu.export("grown", grownNQN, "", volumes[grownUUID], grown)
		dpu.must(m.Connect(options(grown, grownNQN, allowedNQN)))
		match := byUUID(ns.GetSpec().GetUuid())
		find(t, m, "a disk of 8 MiB", func(d guest.Disk) bool { return match(d) && d.SizeBytes == 8*mib })
		m.Shell("truncate -s 12M /tmp/disk; echo 1 > /sys/kernel/config/nvmet/subsystems/" + kernelNQN + "/namespaces/2/revalidate_size")
		find(t, m, "a disk of 12 MiB", func(d guest.Disk) bool { return match(d) && d.SizeBytes == 12*mib })
	})
	// Discards and zeroes go all the way, too.
	lastLook(t, m, device)
	m.Shell("blkdiscard " + device + " && sync")
	m.PowerOff()
}
