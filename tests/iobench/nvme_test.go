// SPDX-License-Identifier: Apache-2.0

package iobench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// The subsystems. A host takes two of the same name for one, so ours has its own beside the kernel's.
const (
	nqn     = "nqn.2024-01.io.example.bench:disks"
	oursNQN = "nqn.2024-01.io.example.bench:ours"
)

// disk is a namespace of a target that 127.0.0.1 leads to. The load is made by a process of its own.
func disk(tb testing.TB, name, nqn string, port, nsid int) target {
	tb.Helper()
	program := testkit.Program(tb, "opi-dataplane")
	return target{name: name, measure: func(tb testing.TB, l load) float64 {
		tb.Helper()
		share := "0"
		if l.write {
			share = "100"
		}
		load := exec.CommandContext(tb.Context(), program, "io", "bench", "--json",
			"--address", fmt.Sprintf("tcp://127.0.0.1:%d", port), "--subnqn", nqn, "--nsid", strconv.Itoa(nsid),
			"--depth", strconv.Itoa(l.depth), "--queues", strconv.Itoa(l.queues), "--size", strconv.Itoa(l.ioBytes),
			"--duration", burst.String(), "--write-percent", share, fmt.Sprintf("--sequential=%t", l.sequential()))
		out, err := load.Output()
		if err != nil {
			tb.Fatalf("%s: %v: %s", name, err, out)
		}
		for line := range bytes.Lines(out) {
			var result struct {
				Event string  `json:"event"`
				OK    bool    `json:"ok"`
				IOPS  float64 `json:"iops"`
			}
			if err := json.Unmarshal(line, &result); err == nil && result.Event == "result" && result.OK {
				return result.IOPS
			}
		}
		tb.Fatalf("%s: %s", name, out)
		return 0
	}}
}

// file makes a file whose blocks are all there.
func file(tb testing.TB, dir, name string) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, bytes.Repeat([]byte{0xa5}, diskBytes), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// localGroup is NVMe/TCP over this machine's loopback, beside a real SPDK if OPI_SPDK_TGT names one.
func localGroup(tb testing.TB) *group {
	tb.Helper()
	ours := testkit.DataPlane(tb, "--vhost-dir", testkit.SocketDir(tb), "--log-level", "warn")
	port := testkit.FreePort(tb)
	control := dialRPC(tb, "unix", ours.Socket())
	control.bdevs(file(tb, tb.TempDir(), "disk"))
	control.export(nqn, "127.0.0.1", strconv.Itoa(port), "file", "memory")
	g := &group{title: "NVMe/TCP over loopback", targets: []target{
		disk(tb, "opi-dataplane, file", nqn, port, 1), disk(tb, "opi-dataplane, memory", nqn, port, 2),
	}}
	for i := range g.targets {
		g.targets[i].pid = ours.PID()
	}
	path := os.Getenv("OPI_SPDK_TGT")
	if path == "" {
		return g
	}
	socket := filepath.Join(testkit.SocketDir(tb), "spdk.sock")
	spdk := testkit.Command(tb, "set OPI_SPDK_TGT to the path of SPDK's spdk_tgt", path,
		"--no-huge", "-s", "1024", "-m", "0x1", "--iova-mode", "va", "--no-pci", "-r", socket)
	testkit.Eventually(tb, "SPDK takes calls", func() error {
		_, err := os.Stat(socket)
		return err
	})
	there := testkit.FreePort(tb)
	control = dialRPC(tb, "unix", socket)
	control.bdevs("")
	control.export(nqn, "127.0.0.1", strconv.Itoa(there), "memory")
	theirs := disk(tb, "SPDK, memory", nqn, there, 1)
	// SPDK takes all of its processor, always: it is frozen while others are measured.
	spdk.Pause()
	tb.Cleanup(spdk.Resume)
	theirs.alone = func() func() {
		spdk.Resume()
		return spdk.Pause
	}
	g.targets = append(g.targets, theirs)
	g.ratios = []ratio{{1, 2}}
	return g
}
