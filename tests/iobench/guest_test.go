// SPDX-License-Identifier: Apache-2.0

package iobench_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

// Ports within the guest.
const (
	kernelPort = 4420
	oursPort   = 4421
	rpcPort    = 5260
	// address is the guest's own.
	address = "10.0.2.15"
)

// serveWithNvmet makes the kernel's target serve a file and a disk in memory.
const serveWithNvmet = `set -e
mount -t configfs none /sys/kernel/config
dd if=/dev/zero of=/tmp/disk bs=1M count=%[1]d
dd if=/tmp/disk of=/dev/ram0 bs=1M
cd /sys/kernel/config/nvmet
mkdir subsystems/%[2]s
cd subsystems/%[2]s
echo 1 > attr_allow_any_host
mkdir namespaces/1 namespaces/2
echo -n /tmp/disk > namespaces/1/device_path
echo 1 > namespaces/1/buffered_io
echo -n /dev/ram0 > namespaces/2/device_path
echo 1 > namespaces/1/enable
echo 1 > namespaces/2/enable
cd ../..
mkdir ports/1
cd ports/1
echo -n ipv4 > addr_adrfam
echo -n tcp > addr_trtype
echo -n %[3]s > addr_traddr
echo -n %[4]d > addr_trsvcid
ln -s ../../subsystems/%[2]s subsystems/%[2]s
`

// serveWithOurs starts our data plane within the guest.
const serveWithOurs = `bin/opi-dataplane serve --rpc-listen tcp://%s:%d --vhost-dir /tmp --log-level warn > /dev/console 2>&1 &`

// guestGroup is NVMe/TCP by the kernel's target and by us within one guest, reached from outside over
// the same emulated network. One of them is idle while the other is measured.
func guestGroup(tb testing.TB) *group {
	tb.Helper()
	kernel, ours := storageGuest(tb)
	return &group{
		title: "NVMe/TCP by targets within a guest",
		targets: []target{
			disk(tb, "opi-dataplane, file", oursNQN, ours, 1), disk(tb, "nvmet, file", nqn, kernel, 1),
			disk(tb, "opi-dataplane, memory", oursNQN, ours, 2), disk(tb, "nvmet, memory", nqn, kernel, 2),
		},
		ratios: []ratio{{0, 1}, {2, 3}},
	}
}

// storageGuest starts the guest with both targets and returns the ports that lead to them. Each serves a
// file and a disk in memory.
func storageGuest(tb testing.TB) (kernel, ours int) {
	tb.Helper()
	program := filepath.Join(tb.TempDir(), "opi-dataplane")
	build := exec.CommandContext(tb.Context(), "go", "build", "-o", program, "github.com/opi-bridge/opi-bridge/cmd/opi-dataplane")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("build for the guest: %v: %s", err, out)
	}
	kernel, ours = testkit.FreePort(tb), testkit.FreePort(tb)
	calls := testkit.FreePort(tb)
	g := machine.Start(tb, machine.Config{
		Modules: []string{"nvmet_tcp", "brd"}, Processors: 2, MemoryMiB: 1024,
		Forwards: []machine.Forward{{Here: kernel, Guest: kernelPort}, {Here: ours, Guest: oursPort}, {Here: calls, Guest: rpcPort}},
		Files:    map[string]string{"bin/opi-dataplane": program},
	})[0]
	g.LoadModules("nvmet_tcp", "brd rd_nr=1 rd_size="+strconv.Itoa(diskBytes/1024))
	g.Shell(fmt.Sprintf(serveWithNvmet, diskBytes/mib, nqn, address, kernelPort))
	g.Shell(fmt.Sprintf("cp /tmp/disk /tmp/ours; "+serveWithOurs, address, rpcPort))
	// QEMU takes connections in place of the guest, so only the guest can tell.
	testkit.Eventually(tb, "the data plane in the guest takes calls", func() error {
		if listening := g.Shell("netstat -tln"); !strings.Contains(listening, fmt.Sprintf("%s:%d", address, rpcPort)) {
			return errors.New(listening)
		}
		return nil
	})
	control := dialRPC(tb, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(calls)))
	control.bdevs("/tmp/ours")
	control.export(oursNQN, address, strconv.Itoa(oursPort), "file", "memory")
	return kernel, ours
}
