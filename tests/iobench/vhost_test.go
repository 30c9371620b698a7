// SPDX-License-Identifier: Apache-2.0

package iobench_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// perOp finds the figure in a line of a benchmark.
var perOp = regexp.MustCompile(`(?m)^BenchmarkSocket\S*\s+\d+\s+([0-9.]+) ns/op`)

// socketDisk is a vhost-user-blk device. The load is made by the front end of the tests of pkg/vhost, in
// a process of its own.
func socketDisk(frontend, name, socket string) target {
	return target{name: name, measure: func(tb testing.TB, l load) float64 {
		tb.Helper()
		op := 0
		if l.write {
			op = 1
		}
		run := exec.CommandContext(tb.Context(), frontend, "-test.run", "^$", "-test.benchtime", burst.String(),
			"-test.bench", fmt.Sprintf("^BenchmarkSocket$/^%dk$/^type=%d$/^queues=%d$/^depth=%d$", l.ioBytes>>10, op, l.queues, l.depth))
		run.Env = append(os.Environ(), "OPI_VHOST_SOCKET="+socket)
		out, err := run.CombinedOutput()
		found := perOp.FindSubmatch(out)
		if err != nil || found == nil {
			tb.Fatalf("%s: %v: %s", name, err, out)
		}
		nanoseconds, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		return 1e9 / nanoseconds
	}}
}

// vhostGroup is vhost-user-blk, on a file and in memory, by us and by QEMU's storage daemon. Memory is a
// malloc bdev here and a file of a file system in memory there.
func vhostGroup(tb testing.TB) *group {
	tb.Helper()
	frontend := filepath.Join(tb.TempDir(), "frontend")
	build := exec.CommandContext(tb.Context(), "go", "test", "-c", "-o", frontend, "github.com/opi-bridge/opi-bridge/pkg/vhost")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("build the front end: %v: %s", err, out)
	}
	sockets := testkit.SocketDir(tb)
	inFile := file(tb, tb.TempDir(), "disk")
	memory, err := os.MkdirTemp("/dev/shm", "opi-bench") //nolint:usetesting // it must lie in memory
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(memory) })
	ours := testkit.DataPlane(tb, "--vhost-dir", sockets, "--log-level", "warn")
	control := dialRPC(tb, "unix", ours.Socket())
	control.bdevs(inFile)
	control.do("vhost_create_blk_controller", object{"ctrlr": "file", "dev_name": "file"})
	control.do("vhost_create_blk_controller", object{"ctrlr": "memory", "dev_name": "memory"})
	g := &group{
		title: "vhost-user-blk",
		targets: []target{
			socketDisk(frontend, "opi-dataplane, file", filepath.Join(sockets, "file")),
			socketDisk(frontend, "storage daemon, file", storageDaemon(tb, inFile)),
			socketDisk(frontend, "opi-dataplane, memory", filepath.Join(sockets, "memory")),
			socketDisk(frontend, "storage daemon, memory", storageDaemon(tb, file(tb, memory, "disk"))),
		},
		ratios: []ratio{{0, 1}, {2, 3}},
	}
	g.targets[0].pid, g.targets[2].pid = ours.PID(), ours.PID()
	return g
}

// storageDaemon serves a file and returns the socket.
func storageDaemon(tb testing.TB, file string) string {
	tb.Helper()
	socket := filepath.Join(testkit.SocketDir(tb), "qsd")
	testkit.Command(tb, "it is in Debian's package qemu-system-common", "qemu-storage-daemon",
		"--blockdev", "driver=file,node-name=disk,aio=threads,filename="+file,
		"--export", "type=vhost-user-blk,id=export,node-name=disk,writable=on,num-queues=4,addr.type=unix,addr.path="+socket)
	testkit.Eventually(tb, "the storage daemon listens", func() error {
		_, err := os.Stat(socket)
		return err
	})
	return socket
}
