// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// describe prints what runs where, and lines to copy.
func describe(out io.Writer, l layout, storage, dpu *node, id identity) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nNODE\tPROGRAM\tPID\tLISTENS ON\tLOG\n")
	for _, n := range []*node{storage, dpu} {
		fmt.Fprintf(w, "%s\topi-dataplane\t%d\tNVMe/TCP %s, JSON-RPC %s\t%s\n",
			n.name, n.dataplane.pid(), n.nvme(), short(n.rpc()), short(n.dataplane.log))
		fmt.Fprintf(w, "%s\topi-bridge\t%d\tgRPC %s, HTTP %s\t%s\n",
			n.name, n.bridge.pid(), n.grpc(), n.http(), short(n.bridge.log))
	}
	_ = w.Flush() // into out, which is asked for nothing else either
	fmt.Fprintf(out, `
The disk: %s, %d MiB on the storage node
  -> %s at %s -> attached by the DPU
  -> %s at %s, namespace 1
  uuid %s, nguid %s

Try, in another terminal:
  # the OPI API: gRPC, REST, and the command line
  grpcurl -plaintext %s list
  grpcurl -plaintext -d '{"parent":"nvmeSubsystems/%s"}' %s opi_api.storage.v1.FrontendNvmeService/ListNvmeNamespaces
  curl -s http://%s/v1/nvmeRemoteControllers/%s/nvmeRemoteNamespaces
  curl -s http://%s/readyz
  %s/opictl list nvmeSubsystems/%s/nvmeNamespaces

  # the disk, as a host sees it; the second line overwrites it
`,
		short(l.storage.volume()), volumeBytes>>20, storageNQN, l.storage.nvme(), diskNQN, l.dpu.nvme(), id.uuid, id.nguid,
		l.dpu.grpc(), subsystemID, l.dpu.grpc(), l.dpu.http(), remoteID, l.dpu.http(), short(l.bin), subsystemID)
	for _, line := range hostDisk(l).examples(short(l.bin)) {
		fmt.Fprintf(out, "  %s\n", line)
	}
	fmt.Fprintf(out, `  nvme connect -t tcp -a %s -s %d -n %s      # as root, with the kernel's nvme-tcp

  # break it: the program starts again, the disk stays the same disk
  kill -9 %d      # the DPU's bridge
  kill -9 %d      # the DPU's data plane
  kill -9 %d      # the storage node's data plane

Ctrl-C stops everything. The state stays in %s: the next start finds the same disk. `+"`make clean`"+` removes it.
`, loopback, l.dpu.nvmePort, diskNQN, dpu.bridge.pid(), dpu.dataplane.pid(), storage.dataplane.pid(), short(l.dir))
}

// short returns the path as seen from the working directory, unless that lies somewhere else altogether.
func short(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	relative, err := filepath.Rel(here, path)
	if err != nil || strings.HasPrefix(relative, "..") {
		return path
	}
	return relative
}
