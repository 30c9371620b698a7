// SPDX-License-Identifier: Apache-2.0

package iobench_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

// queues is how many queues a disk of a guest has, and processors the guest, for a queue to each.
const queues = 4

// fioDisk is a disk of a guest, loaded by fio in it.
func fioDisk(g *machine.Machine, name, device string) target {
	return target{name: name, measure: func(tb testing.TB, l load) float64 {
		tb.Helper()
		job := machine.FioJob{
			Name: "load", BlockBytes: l.ioBytes, Depth: l.depth / l.queues, Threads: l.queues,
			Time: burst, SizeBytes: diskBytes, RW: "read",
		}
		if l.write {
			job.RW = "write"
		}
		if !l.sequential() {
			job.RW = "rand" + job.RW
		}
		return g.RunFio("/dev/"+device, []machine.FioJob{job})[0].IOPS
	}}
}

// fioVhostGroup is vhost-user-blk as a guest sees it, on equal files.
func fioVhostGroup(tb testing.TB) *group {
	tb.Helper()
	sockets := testkit.SocketDir(tb)
	ours := testkit.DataPlane(tb, "--vhost-dir", sockets, "--log-level", "warn")
	control := dialRPC(tb, "unix", ours.Socket())
	control.bdevs(file(tb, tb.TempDir(), "disk"))
	control.do("vhost_create_blk_controller", object{"ctrlr": "file", "dev_name": "file"})
	g := machine.Start(tb, machine.Config{
		Modules: []string{"virtio_blk"}, Processors: queues, MemoryMiB: 1024, Files: machine.Fio(tb),
		Devices: slices.Concat(
			machine.VhostUserBlk("ours", filepath.Join(sockets, "file"), queues),
			machine.VhostUserBlk("daemon", storageDaemon(tb, file(tb, tb.TempDir(), "disk")), queues)),
	})[0]
	g.LoadModules("virtio_blk")
	testkit.Eventually(tb, "the guest sees both disks", func() error {
		if disks := g.Disks(); len(disks) < 2 {
			return fmt.Errorf("it sees %+v", disks)
		}
		return nil
	})
	return &group{
		title:   "fio in a guest on vhost-user-blk",
		targets: []target{fioDisk(g, "opi-dataplane, file", "vda"), fioDisk(g, "storage daemon, file", "vdb")},
		ratios:  []ratio{{0, 1}},
	}
}

// fioNvmeGroup is NVMe/TCP as a guest sees it, by the targets of another guest.
func fioNvmeGroup(tb testing.TB) *group {
	tb.Helper()
	kernel, ours := storageGuest(tb)
	g := machine.Start(tb, machine.Config{
		Modules: []string{"nvme_tcp"}, Processors: queues, MemoryMiB: 1024, Files: machine.Fio(tb),
	})[0]
	g.LoadModules("nvme_tcp")
	connect := func(nqn string, port int) map[string]string {
		if err := g.Connect(fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=%s", machine.HostAddress, port, nqn)); err != nil {
			tb.Fatal(err)
		}
		byNSID := map[string]string{}
		testkit.Eventually(tb, "the guest sees the disks of "+nqn, func() error {
			disks := g.Disks()
			for _, d := range disks {
				if d.SubsystemNQN == nqn {
					byNSID[d.NSID] = d.Name
				}
			}
			if len(byNSID) < 2 {
				return fmt.Errorf("it sees %+v", disks)
			}
			return nil
		})
		return byNSID
	}
	theirs, mine := connect(nqn, kernel), connect(oursNQN, ours)
	return &group{
		title: "fio in a guest on NVMe/TCP by targets in another guest",
		targets: []target{
			fioDisk(g, "opi-dataplane, file", mine["1"]), fioDisk(g, "nvmet, file", theirs["1"]),
			fioDisk(g, "opi-dataplane, memory", mine["2"]), fioDisk(g, "nvmet, memory", theirs["2"]),
		},
		ratios: []ratio{{0, 1}, {2, 3}},
	}
}
