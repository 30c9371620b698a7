// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/host/guest"
	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

// fioSeconds is how long each of fio's jobs takes. One second shows that it works; figures want more.
var fioSeconds = flag.Int("fio.seconds", 1, "how long each of fio's jobs takes") //nolint:gochecknoglobals // a flag of the tests

const fioNQN = "nqn.2024-01.io.example.dpu:fio"

// fioJobs are random and sequential I/O of several depths, and then writes that are read again and
// compared.
func fioJobs() []machine.FioJob {
	job := machine.FioJob{BlockBytes: 4096, SizeBytes: 8 * mib, Time: time.Duration(*fioSeconds) * time.Second}
	var jobs []machine.FioJob
	for _, job.RW = range []string{"randread", "randwrite"} {
		for _, job.Depth = range []int{1, 32, 128} {
			job.Name = fmt.Sprintf("4k-%s-%d", job.RW, job.Depth)
			jobs = append(jobs, job)
		}
	}
	job.BlockBytes, job.Depth = 128<<10, 32
	for _, job.RW = range []string{"read", "write"} {
		job.Name = fmt.Sprintf("128k-%s-%d", job.RW, job.Depth)
		jobs = append(jobs, job)
	}
	return append(jobs, machine.FioJob{Name: "verify", RW: "randwrite", BlockBytes: 4096, Depth: 32, SizeBytes: 4 * mib})
}

// TestFio lets fio, as Debian has it, load a virtio disk and an NVMe/TCP disk in a guest.
func TestFio(t *testing.T) {
	sockets := testkit.SocketDir(t)
	dpu := newNode(t, "--vhost-dir", sockets)
	port := testkit.FreePort(t)
	socket := dpu.virtioBlk(sockets, "disk", dpu.file("virtio", 8*mib), 0)
	ns := dpu.export("fio-disk", fioNQN, "", dpu.file("nvme", 9*mib), port)
	g := machine.Start(t, machine.Config{
		Modules: []string{"virtio_blk", "nvme_tcp"}, Processors: 2, MemoryMiB: 768,
		Devices: machine.VhostUserBlk("disk", socket, 2), Files: machine.Fio(t),
	})[0]
	g.LoadModules("virtio_blk", "nvme_tcp")
	dpu.must(g.Connect(options(port, fioNQN, allowedNQN)))
	for _, disk := range []struct {
		name  string
		match func(guest.Disk) bool
	}{
		{"virtio-blk", func(d guest.Disk) bool { return d.SizeBytes == 8*mib }},
		{"NVMe/TCP", byUUID(ns.GetSpec().GetUuid())},
	} {
		t.Run(disk.name, func(t *testing.T) {
			for _, r := range g.RunFio("/dev/"+find(t, g, disk.name, disk.match).Name, fioJobs()) {
				t.Logf("%-18s %8.0f IOPS %7.1f MiB/s, median %v", r.Name, r.IOPS, r.BytesPerSecond/mib, r.Median.Round(time.Microsecond))
			}
		})
	}
}
