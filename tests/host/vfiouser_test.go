// SPDX-License-Identifier: Apache-2.0

//go:build vfiouser

package host_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
	"github.com/opi-bridge/opi-bridge/tests/host/guest"
	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

// What no package of Debian 12 has: this file is compiled with the tag vfiouser only, by `make
// test-vfio-user`, and wants both.
var (
	vfioQEMU   = flag.String("vfio-user.qemu", "", "path of a qemu-system-x86_64 with the device vfio-user-pci: version 10.1 or later")
	vfioUnplug = flag.Bool("vfio-user.unplug", false, "that QEMU survives the unplugging of a vfio-user device")
	vfioSPDK   = flag.String("vfio-user.spdk", "", "path of SPDK's spdk_tgt, built with vfio-user")
)

// functions is a DPU whose SPDK and bridge show NVMe controllers on the PCI buses of a guest.
type functions struct {
	*node
	dir   string // of the endpoints
	cfg   machine.Config
	guest *machine.Machine
}

// newFunctions starts everything but the guest, which has these buses by these further arguments of QEMU.
func newFunctions(t *testing.T, buses string, devices ...string) *functions {
	t.Helper()
	if *vfioQEMU == "" || *vfioSPDK == "" {
		t.Fatal("say where they are: make test-vfio-user QEMU=/path/of/qemu-system-x86_64 SPDK=/path/of/spdk_tgt")
	}
	f := &functions{dir: testkit.SocketDir(t)}
	monitor, vhost := filepath.Join(testkit.SocketDir(t), "qmp"), testkit.SocketDir(t)
	f.node = newNodeOf(t, testkit.SPDK(t, *vfioSPDK, "-S", vhost),
		"--driver", "kvm", "--qmp", "unix://"+monitor, "--vhost-dir", vhost, "--vfio-user-dir", f.dir, "--pci-buses", buses,
		fmt.Sprintf("--unplug-nvme=%t", *vfioUnplug))
	f.cfg = machine.Config{QEMU: *vfioQEMU, Modules: []string{"virtio_blk"}, Devices: append([]string{
		"-qmp", "unix:" + monitor + ",server=on,wait=off", "-bios", "bios-256k.bin",
	}, devices...)}
	return f
}

// start starts the guest. Its kernel has the driver of NVMe on PCI built in.
func (f *functions) start() {
	f.t.Helper()
	f.guest = machine.Start(f.t, f.cfg)[0]
}

// show makes a controller of a subsystem at a place.
func (f *functions) show(ctx context.Context, subsystem, id string, port, physical, virtual int32) error {
	_, err := f.front.CreateNvmeController(ctx, &pb.CreateNvmeControllerRequest{
		Parent: "nvmeSubsystems/" + subsystem, NvmeControllerId: id,
		NvmeController: &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
			Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_PCIE,
			Endpoint: &pb.NvmeControllerSpec_PcieId{PcieId: &pb.PciEndpoint{
				PortId: wrapperspb.Int32(port), PhysicalFunction: wrapperspb.Int32(physical), VirtualFunction: wrapperspb.Int32(virtual),
			}},
		}},
	})
	return err
}

// hide deletes a controller.
func (f *functions) hide(ctx context.Context, subsystem, id string) error {
	_, err := f.front.DeleteNvmeController(ctx, &pb.DeleteNvmeControllerRequest{
		Name: "nvmeSubsystems/" + subsystem + "/nvmeControllers/" + id, AllowMissing: true,
	})
	return err
}

// place returns where the guest has the controller of a subsystem on PCI, without the number of its bus.
func (f *functions) place(nqn string) string {
	f.t.Helper()
	address := strings.TrimSpace(f.guest.Shell(fmt.Sprintf(
		"cd /sys/class/nvme; for c in *; do if [ $(cat $c/subsysnqn) = %s ]; then cat $c/address; fi; done", nqn)))
	return address[strings.LastIndexByte(address, ':')+1:]
}

// sum returns the SHA-256 of what the guest reads from a disk, past its cache.
func (f *functions) sum(device string) string {
	f.t.Helper()
	return f.guest.Shell("sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum < " + device)
}

// unready waits until the bridge tells of a resource what words say.
func (f *functions) unready(resource string, words ...string) {
	f.t.Helper()
	bridge := bridgev1.NewBridgeServiceClient(f.conn)
	testkit.Eventually(f.t, "the bridge says what is wrong with "+resource, func() error {
		s, err := bridge.GetResourceStatus(f.t.Context(), &bridgev1.GetResourceStatusRequest{Name: resource})
		if err != nil {
			return err
		}
		for _, w := range words {
			if !strings.Contains(s.GetError(), w) {
				return fmt.Errorf("its status is %v, which does not say %q", s, w)
			}
		}
		return nil
	})
}

// active wants the controller of a subsystem to be shown as one that hosts can use, or not.
func (f *functions) active(subsystem string, want bool) {
	f.t.Helper()
	name := "nvmeSubsystems/" + subsystem + "/nvmeControllers/pcie"
	c, err := f.front.GetNvmeController(f.t.Context(), &pb.GetNvmeControllerRequest{Name: name})
	f.must(err)
	if c.GetStatus().GetActive() != want {
		f.t.Errorf("%s: active is %t", name, !want)
	}
}

// empty wants no endpoint to be left.
func (f *functions) empty() {
	f.t.Helper()
	if left, _ := filepath.Glob(filepath.Join(f.dir, "*", "*")); len(left) > 0 {
		f.t.Errorf("endpoints %q are left", left)
	}
}

const (
	pcieNQN = "nqn.2024-01.io.example.dpu:pcie"
	sideNQN = "nqn.2024-01.io.example.dpu:side"
	pcieOne = "nvmeSubsystems/disks/nvmeControllers/pcie"
)

// TestVfioUser has NVMe controllers on PCIe come, be used, outlive what dies behind them, and go.
func TestVfioUser(t *testing.T) {
	f := newFunctions(t, "pci.opi.0,pci.opi.1",
		"-device", "pci-bridge,id=pci.opi.0,chassis_nr=1", "-device", "pci-bridge,id=pci.opi.1,chassis_nr=2",
		"-device", "virtio-rng-pci,id=other,bus=pci.opi.1,addr=9")
	subsystem := &pb.NvmeSubsystemSpec{Nqn: pcieNQN, SerialNumber: "SN 0815-4711", ModelNumber: "A model with a name"}
	f.subsystem("disks", subsystem)
	file := f.file("file", 16*mib)
	first := f.namespace("disks", "first", &pb.NvmeNamespaceSpec{
		VolumeNameRef: file, HostNsid: 7, Uuid: "6b1c2e5a-0d3f-4f7a-9a51-3f0c9a7d1e42",
		Nguid: "0123456789abcdeffedcba9876543210", Eui64: 0x0011223344556677,
	})
	isFirst := byUUID(first.GetSpec().GetUuid())
	f.subsystem("side", &pb.NvmeSubsystemSpec{Nqn: sideNQN})
	side := f.namespace("side", "side", &pb.NvmeNamespaceSpec{VolumeNameRef: f.file("side-file", 8*mib)})
	isSide := byUUID(side.GetSpec().GetUuid())

	refused(t, f.show(t.Context(), "disks", "pcie", 0, 0, 3), codes.Unavailable, "QEMU")
	f.empty()
	f.start()
	testkit.Eventually(t, "the first controller is plugged", func() error { return f.show(t.Context(), "disks", "pcie", 0, 0, 3) })
	d := find(t, f.guest, "the first disk", isFirst)
	same(t, d, first, subsystem)
	if at := f.place(pcieNQN); at != "03.0" {
		t.Errorf("it is at %q", at)
	}
	device := "/dev/" + d.Name
	f.guest.StartLoad(guest.Load{Device: device, Bytes: 8 * mib, IOSizeBytes: 4096, Depth: 4, WritePercent: 50, Seed: 6})
	moves(t, f.guest, device, "on a new disk")
	clean(t, "a new disk", f.guest.MarkLoad(device))

	t.Run("changes", func(t *testing.T) { changes(t, f.node, f.guest, file, first, subsystem) })
	t.Run("a second one", func(t *testing.T) {
		began := time.Now()
		f.must(f.show(t.Context(), "side", "pcie", 0, 1, 32)) // runs on into the second bus
		made := time.Since(began)
		find(t, f.guest, "the disk", isSide)
		t.Logf("made in %s, seen after %s", milliseconds(made), milliseconds(time.Since(began)))
		if at := f.place(sideNQN); at != "01.0" {
			t.Errorf("it is at %q", at)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		refused(t, f.show(t.Context(), "side", "taken", 1, 0, 9), codes.FailedPrecondition, "bus pci.opi.1, slot 9", "other")
		refused(t, f.show(t.Context(), "side", "beyond", 0, 0, 64), codes.InvalidArgument, "pcie_id", "pci.opi.0, pci.opi.1")
		refused(t, f.show(t.Context(), "side", "double", 0, 0, 3), codes.AlreadyExists, "spec.pcie_id", "nvmeSubsystems/disks")
		if left, _ := filepath.Glob(filepath.Join(f.dir, "*")); len(left) != 2 {
			t.Errorf("endpoints %q are left", left)
		}
	})
	t.Run("death of the bridge", func(t *testing.T) {
		f.guest.MarkLoad(device)
		for range 10 {
			f.bridge.Restart()
			f.whole()
			moves(t, f.guest, device, "while the bridge comes and goes")
		}
		r := f.guest.MarkLoad(device)
		clean(t, "ten deaths", r)
		t.Logf("longest wait %s, median %s, %d reads and writes", milliseconds(r.Longest), milliseconds(r.Median), r.Reads+r.Writes)
	})
	lastLook(t, f.guest, device)

	t.Run("deletion", func(t *testing.T) {
		if !*vfioUnplug {
			refused(t, f.hide(t.Context(), "side", "pcie"), codes.Unavailable, "switched off", "--unplug-nvme")
			find(t, f.guest, "the disk still", isSide)
			return
		}
		for range 3 {
			began := time.Now()
			f.insist(func() error { return f.hide(t.Context(), "side", "pcie") })
			t.Logf("deleted in %s", milliseconds(time.Since(began)))
			gone(t, f.guest, "the disk", isSide)
			f.must(f.show(t.Context(), "side", "pcie", 0, 1, 32))
			find(t, f.guest, "the disk again", isSide)
		}
	})
	if *vfioUnplug {
		t.Run("two controllers of one subsystem", func(t *testing.T) { f.twoWays(t, device) })
		t.Run("crashes of the bridge", func(*testing.T) { f.crash(isSide) })
	}
	t.Run("restart of QEMU", func(t *testing.T) {
		want := f.sum(device)
		f.guest.Kill()
		testkit.Eventually(t, "a controller of a guest that is off is deleted", func() error { return f.hide(t.Context(), "side", "pcie") })
		f.start()
		f.whole()
		d := find(t, f.guest, "the first disk", isFirst)
		same(t, d, first, subsystem)
		device = "/dev/" + d.Name
		if got := f.sum(device); got != want {
			t.Errorf("it holds %s, held %s", got, want)
		}
		gone(t, f.guest, "the disk whose controller was deleted", isSide)
	})
	t.Run("restart of SPDK", func(t *testing.T) {
		want := f.sum(device)
		f.active("disks", true)
		f.dataPlane.Kill()
		f.dataPlane.Start()
		if !*vfioUnplug {
			f.unready(pcieOne, "lost its data plane", "--unplug-nvme")
			f.active("disks", false)
			f.guest.Shell("true") // the guest lives
			f.guest.Kill()
			f.start()
		}
		f.whole()
		f.active("disks", true)
		testkit.Eventually(t, "the disk can be read", func() error {
			for _, d := range f.guest.Disks() {
				if isFirst(d) && d.SizeBytes > 0 {
					device = "/dev/" + d.Name
					return nil
				}
			}
			return errors.New("it is not there")
		})
		if got := f.sum(device); got != want {
			t.Errorf("it holds %s, held %s", got, want)
		}
	})
	if !*vfioUnplug {
		f.guest.Kill()
		testkit.Eventually(t, "it is deleted", func() error { return f.hide(t.Context(), "disks", "pcie") })
		f.empty()
		return
	}
	t.Run("restart of SPDK under load", func(t *testing.T) {
		f.guest.StartLoad(guest.Load{Device: device, Bytes: 8 * mib, IOSizeBytes: 4096, Depth: 4, WritePercent: 50, Seed: 7})
		moves(t, f.guest, device, "before")
		f.dataPlane.Restart()
		f.whole()
		r := f.guest.StopLoad(device)
		if r.Errors == 0 || r.Mismatched > 0 {
			t.Errorf("%d requests failed, and of those that did not %q are wrong", r.Errors, r.Mismatches)
		}
		device = "/dev/" + find(t, f.guest, "the first disk again", isFirst).Name
		f.guest.StartLoad(guest.Load{Device: device, Bytes: 8 * mib, IOSizeBytes: 4096, Depth: 4, WritePercent: 50, Seed: 8})
		lastLook(t, f.guest, device)
	})
	t.Run("deleted while SPDK is away", func(t *testing.T) {
		f.dataPlane.Kill()
		testkit.Eventually(t, "the bridge has noticed", func() error {
			if err := f.ready(t.Context()); err == nil {
				return errors.New("it is ready")
			}
			return nil
		})
		refused(t, f.hide(t.Context(), "disks", "pcie"), codes.Unavailable)
		f.dataPlane.Start()
		f.insist(func() error { return f.hide(t.Context(), "disks", "pcie") })
		gone(t, f.guest, "the first disk", isFirst)
	})
	f.insist(func() error { return f.show(t.Context(), "disks", "pcie", 0, 0, 3) }) // the place is free
	find(t, f.guest, "the first disk again", isFirst)
	f.insist(func() error { return f.hide(t.Context(), "disks", "pcie") })
	gone(t, f.guest, "the first disk", isFirst)
	f.empty()
}

// twoWays takes one of the two ways to a disk away, and then the other, under load.
func (f *functions) twoWays(t *testing.T, device string) {
	ways := func(want int) {
		testkit.Eventually(t, fmt.Sprintf("the guest has %d controllers", want), func() error {
			// A way counts when it leads to both namespaces.
			all := strings.Fields(f.guest.Shell(fmt.Sprintf(
				"cd /sys/class/nvme; for c in *; do if [ $(cat $c/subsysnqn) = %s ]; then ls $c | grep -c 'n[0-9]*n[0-9]$\\|c[0-9]*n[0-9]$' || true; fi; done", pcieNQN)))
			if !slices.Equal(all, slices.Repeat([]string{"2"}, want)) {
				return fmt.Errorf("they have %q namespaces", all)
			}
			return nil
		})
	}
	f.must(f.show(t.Context(), "disks", "second", 1, 0, 5))
	ways(2)
	f.guest.StartLoad(guest.Load{Device: device, Bytes: 8 * mib, IOSizeBytes: 4096, Depth: 4, WritePercent: 50, Seed: 10})
	f.insist(func() error { return f.hide(t.Context(), "disks", "pcie") })
	ways(1)
	moves(t, f.guest, device, "on the second way")
	f.must(f.show(t.Context(), "disks", "pcie", 0, 0, 3))
	ways(2)
	f.insist(func() error { return f.hide(t.Context(), "disks", "second") })
	ways(1)
	lastLook(t, f.guest, device)
}

// crash kills the bridge at several moments of a plugging and of an unplugging: what is listed after is what the
// guest has.
func (f *functions) crash(disk func(guest.Disk) bool) {
	f.t.Helper()
	show := func(ctx context.Context) error { return f.show(ctx, "side", "pcie", 0, 1, 32) }
	hide := func(ctx context.Context) error { return f.hide(ctx, "side", "pcie") }
	agree := func() {
		f.t.Helper()
		testkit.Eventually(f.t, "bridge and guest agree", func() error {
			list, err := f.front.ListNvmeControllers(f.t.Context(), &pb.ListNvmeControllersRequest{Parent: "nvmeSubsystems/side"})
			if err != nil {
				return err
			}
			if has := slices.ContainsFunc(f.guest.Disks(), disk); has != (len(list.GetNvmeControllers()) == 1) {
				return fmt.Errorf("%v are listed, that the guest has the disk is %t", list.GetNvmeControllers(), has)
			}
			return nil
		})
	}
	for i := range 6 {
		f.amid(time.Duration(i)*20*time.Millisecond, hide)
		agree()
		f.insist(func() error { return hide(f.t.Context()) })
		gone(f.t, f.guest, "the disk", disk)
		f.amid(time.Duration(i)*10*time.Millisecond, show)
		agree()
		f.insist(func() error { return show(f.t.Context()) })
		find(f.t, f.guest, "the disk", disk)
	}
}

// TestVfioUserOnPCIExpress has controllers on root ports, which have one slot each.
func TestVfioUserOnPCIExpress(t *testing.T) {
	f := newFunctions(t, "port.0,port.1", "-machine", "q35",
		"-device", "pcie-root-port,id=port.0,chassis=1,slot=1", "-device", "pcie-root-port,id=port.1,chassis=2,slot=2")
	f.start()
	for port := range int32(2) {
		id := fmt.Sprintf("disk-%d", port)
		f.subsystem(id, &pb.NvmeSubsystemSpec{Nqn: pcieNQN + id})
		ns := f.namespace(id, id, &pb.NvmeNamespaceSpec{VolumeNameRef: f.file(id, 4*mib)})
		began := time.Now()
		f.insist(func() error { return f.show(t.Context(), id, "pcie", port, 0, 0) })
		d := find(t, f.guest, "the disk", byUUID(ns.GetSpec().GetUuid()))
		t.Logf("port %d: seen after %s", port, milliseconds(time.Since(began)))
		f.guest.StartLoad(guest.Load{Device: "/dev/" + d.Name, IOSizeBytes: 4096, Depth: 4, WritePercent: 50, Seed: 9})
		lastLook(t, f.guest, "/dev/"+d.Name)
		if !*vfioUnplug {
			continue
		}
		began = time.Now()
		f.insist(func() error { return f.hide(t.Context(), id, "pcie") })
		t.Logf("port %d: deleted in %s", port, milliseconds(time.Since(began)))
		gone(t, f.guest, "the disk", byUUID(ns.GetSpec().GetUuid()))
	}
	refused(t, f.show(t.Context(), "disk-0", "nowhere", 0, 0, 1), codes.FailedPrecondition, "bus port.0, slot 1")
}
