// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/host/guest"
	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

// fioSeconds is how long each of fio's jobs takes. One second shows that it works; figures want more.
var fioSeconds = flag.Int("fio.seconds", 1, "how long each of fio's jobs takes") //nolint:gochecknoglobals // a flag of the tests

const fioNQN = "nqn.2024-01.io.example.dpu:fio"

// fioJobs is a job file: random and sequential I/O of several depths one after the other, around the
// page cache, and then writes that are read again and compared.
func fioJobs(device string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[global]\nfilename=%s\nioengine=libaio\ndirect=1\nthread\nsize=8M\nruntime=%d\ntime_based\nstonewall\n", device, *fioSeconds)
	for _, rw := range []string{"randread", "randwrite"} {
		for _, depth := range []int{1, 32, 128} {
			fmt.Fprintf(&b, "[4k-%s-%d]\nrw=%s\nbs=4k\niodepth=%d\n", rw, depth, rw, depth)
		}
	}
	for _, rw := range []string{"read", "write"} {
		fmt.Fprintf(&b, "[128k-%s-32]\nrw=%s\nbs=128k\niodepth=32\n", rw, rw)
	}
	b.WriteString("[verify]\nrw=randwrite\nbs=4k\niodepth=32\ntime_based=0\nruntime=0\nsize=4M\nverify=crc32c\nverify_fatal=1\n")
	return b.String()
}

// fioReport is what is used of fio's report.
type fioReport struct {
	Jobs []struct {
		Name  string   `json:"jobname"`
		Error int      `json:"error"`
		Read  fioShare `json:"read"`
		Write fioShare `json:"write"`
	} `json:"jobs"`
}

type fioShare struct {
	Requests  uint64  `json:"total_ios"`
	IOPS      float64 `json:"iops"`
	Bandwidth float64 `json:"bw_bytes"`
	Latency   struct {
		Percentile map[string]float64 `json:"percentile"`
	} `json:"clat_ns"`
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
		t.Run(disk.name, func(t *testing.T) { runFio(t, g, "/dev/"+find(t, g, disk.name, disk.match).Name) })
	}
}

// runFio runs all jobs on a device, wants none to fail, and notes the figures.
func runFio(t *testing.T, g *machine.Machine, device string) {
	t.Helper()
	jobs := fioJobs(device)
	out := g.Shell("cat > /tmp/jobs <<'END'\n" + jobs + "END\nfio --output-format=json --output=/tmp/report /tmp/jobs >&2 && cat /tmp/report")
	var report fioReport
	if _, body, found := strings.Cut(out, "{"); !found || json.Unmarshal([]byte("{"+body), &report) != nil {
		t.Fatalf("fio has printed no report: %s", out)
	}
	if want := strings.Count(jobs, "[") - 1; len(report.Jobs) != want {
		t.Errorf("fio reports on %d jobs of %d", len(report.Jobs), want)
	}
	for _, job := range report.Jobs {
		if job.Error != 0 || job.Read.Requests+job.Write.Requests == 0 || job.Name == "verify" && job.Read.Requests == 0 {
			t.Errorf("%s: error %d, %d reads and %d writes", job.Name, job.Error, job.Read.Requests, job.Write.Requests)
		}
		share := job.Read
		if share.Requests < job.Write.Requests {
			share = job.Write
		}
		t.Logf("%-18s %8.0f IOPS %7.1f MiB/s, median %8.0f us", job.Name, share.IOPS, share.Bandwidth/mib, share.Latency.Percentile["50.000000"]/1000)
	}
}
