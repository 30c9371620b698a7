// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bufio"
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

const (
	// bootTime bounds the way from the start of QEMU to the init program: 2 s where nothing else runs.
	bootTime = 3 * time.Minute
	// address is the guest's; QEMU's user network has this machine's loopback at HostAddress.
	address = "10.0.2.15/24"
	// defaultMemoryMiB is plenty for kernel, init program and small disks in memory.
	defaultMemoryMiB = 512
)

// hugePages is the variable that, if set, has the memory of guests on huge pages of 2 MiB, as on a server
// that is in earnest. The machine must have set them aside (/proc/sys/vm/nr_hugepages).
const hugePages = "OPI_HUGE_PAGES"

// HostAddress is where a guest reaches what listens on 127.0.0.1 of the machine that tests run on.
const HostAddress = "10.0.2.2"

// Forward makes a TCP port of the guest reachable as a port of 127.0.0.1 here.
type Forward struct{ Here, Guest int }

// Config says what machine to start.
type Config struct {
	// Modules are the kernel modules that the test will load, by name; what they need comes with them.
	Modules []string
	// Kernel is the folder, below the top of the module, with the package of another kernel than most tests
	// use.
	Kernel string
	// Processors is 1 if 0.
	Processors int
	// MemoryMiB is 512 if 0. It is shared memory, as vhost-user needs it.
	MemoryMiB int
	Forwards  []Forward
	// QEMU is the program that is the machine: qemu-system-x86_64 of the search path if it is empty.
	QEMU string
	// Devices are further arguments of QEMU.
	Devices []string
	// Files are put into the guest: where they are to be there, without the first slash, by where they
	// are here. All of them can be executed.
	Files map[string]string
}

// Machine is a running virtual machine. Its methods are for the test's own goroutine. They end the
// test when the machine does not answer; its console is shown when the test has failed.
type Machine struct {
	tb      testing.TB
	process *testkit.CommandProcess
	order   map[string][]string // modules to load for a module
	conn    net.Conn
	lines   *bufio.Scanner
	last    uint64 // request
}

// VhostUserBlk returns the arguments of QEMU for a virtio disk behind a vhost-user socket. QEMU
// connects again within a second after the back end was away; at the start it must be there.
func VhostUserBlk(id, socket string, queues int) []string {
	return []string{
		"-chardev", "socket,id=chr-" + id + ",path=" + socket + ",reconnect=1",
		"-device", fmt.Sprintf("vhost-user-blk-pci,id=%s,chardev=chr-%s,num-queues=%d", id, id, queues),
	}
}

// Start starts machines and waits until all of them do what they are told.
func Start(tb testing.TB, configs ...Config) []*Machine {
	tb.Helper()
	var all []*Machine
	for _, cfg := range configs {
		all = append(all, launch(tb, cfg))
	}
	for _, m := range all {
		m.hello()
		m.LoadModules(basic...)
		m.network()
	}
	return all
}

func launch(tb testing.TB, cfg Config) *Machine {
	tb.Helper()
	s, err := unpack(tb.Context(), cfg.Kernel)
	if err != nil {
		tb.Fatal(err)
	}
	m := &Machine{tb: tb, order: map[string][]string{}}
	wanted := append(append([]string{}, basic...), cfg.Modules...)
	for _, name := range wanted {
		if m.order[name], err = s.modules.closure(name); err != nil {
			tb.Fatal(err)
		}
	}
	all, err := s.modules.closure(wanted...)
	if err != nil {
		tb.Fatal(err)
	}
	initramfs, err := s.initramfs(tb.Context(), tb.TempDir(), all, cfg.Files)
	if err != nil {
		tb.Fatal(err)
	}
	clock, err := clockArgs(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	socket := filepath.Join(testkit.SocketDir(tb), "control")
	m.process = testkit.Command(tb, remedy, cmp.Or(cfg.QEMU, "qemu-system-x86_64"), arguments(cfg, s.vmlinux, initramfs, clock, socket)...)
	m.dial(socket)
	return m
}

func arguments(cfg Config, vmlinux, initramfs, clock, socket string) []string {
	memory := cfg.MemoryMiB
	if memory == 0 {
		memory = defaultMemoryMiB
	}
	size := strconv.Itoa(memory) + "M"
	processors := strconv.Itoa(max(cfg.Processors, 1))
	backend := "memory-backend-memfd,id=memory,share=on,size=" + size
	if os.Getenv(hugePages) != "" {
		backend += ",hugetlb=on,hugetlbsize=2M"
	}
	var forwards strings.Builder
	for _, f := range cfg.Forwards {
		fmt.Fprintf(&forwards, ",hostfwd=tcp:127.0.0.1:%d-:%d", f.Here, f.Guest)
	}
	return append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "pc,accel=tcg,memory-backend=memory", "-cpu", "max", "-smp", processors, "-bios", "qboot.rom",
		"-m", size, "-object", backend,
		"-kernel", vmlinux, "-initrd", initramfs, "-append", "console=ttyS0 panic=-1 " + clock,
		"-chardev", "stdio,id=console,signal=off", "-device", "isa-serial,chardev=console",
		"-chardev", "socket,id=control,server=on,wait=on,path=" + socket, "-device", "isa-serial,chardev=control",
		"-netdev", "user,id=net" + forwards.String(), "-device", "virtio-net-pci,netdev=net,romfile=",
	}, cfg.Devices...)
}

// dial connects to the serial port; QEMU waits for that before it starts the guest.
func (m *Machine) dial(socket string) {
	m.tb.Helper()
	var ended error
	testkit.Eventually(m.tb, "QEMU starts", func() (err error) {
		select {
		case <-m.process.Ended():
			ended = fmt.Errorf("it ended: %s", m.process.Output())
			return nil
		default:
			m.conn, err = (&net.Dialer{}).DialContext(m.tb.Context(), "unix", socket)
			return err
		}
	})
	if ended != nil {
		m.tb.Fatalf("start QEMU: %v", ended)
	}
	m.tb.Cleanup(func() { m.conn.Close() })
	m.lines = bufio.NewScanner(m.conn)
}

// Console returns the last of what the kernel printed.
func (m *Machine) Console() string { return m.process.Output() }

// Kill takes the machine's power away.
func (m *Machine) Kill() { m.process.Kill() }

// PowerOff makes the machine end in order.
func (m *Machine) PowerOff() {
	m.tb.Helper()
	m.powerOff()
	select {
	case <-m.process.Ended():
	case <-time.After(bootTime):
		m.tb.Fatalf("the machine did not power off within %v", bootTime)
	}
}
