// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/host/guest"
	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

// plugs is a DPU whose bridge plugs devices into a guest.
type plugs struct {
	*node
	blks    pb.FrontendVirtioBlkServiceClient
	sockets string
	cfg     machine.Config
	guest   *machine.Machine
}

// newPlugs starts everything but the guest, which has these buses by these further arguments of QEMU.
func newPlugs(t *testing.T, buses string, devices ...string) *plugs {
	t.Helper()
	p := &plugs{sockets: testkit.SocketDir(t)}
	monitor := filepath.Join(testkit.SocketDir(t), "qmp")
	p.node = newNodeOf(t, testkit.DataPlane(t, "--vhost-dir", p.sockets),
		"--driver", "kvm", "--qmp", "unix://"+monitor, "--vhost-dir", p.sockets, "--pci-buses", buses)
	p.blks = pb.NewFrontendVirtioBlkServiceClient(p.conn)
	p.cfg = machine.Config{Modules: []string{"virtio_blk"}, Devices: append([]string{
		"-qmp", "unix:" + monitor + ",server=on,wait=off",
		"-bios", "bios-256k.bin", // unlike qboot it gives the buses behind bridges room for devices
	}, devices...)}
	return p
}

// start starts the guest.
func (p *plugs) start() {
	p.t.Helper()
	p.guest = machine.Start(p.t, p.cfg)[0]
	p.guest.LoadModules("virtio_blk")
}

// plug makes a virtio disk at a place.
func (p *plugs) plug(ctx context.Context, id, volume string, port, physical, virtual int32) error {
	_, err := p.blks.CreateVirtioBlk(ctx, &pb.CreateVirtioBlkRequest{VirtioBlkId: id, VirtioBlk: &pb.VirtioBlk{
		VolumeNameRef: volume,
		PcieId: &pb.PciEndpoint{
			PortId: wrapperspb.Int32(port), PhysicalFunction: wrapperspb.Int32(physical), VirtualFunction: wrapperspb.Int32(virtual),
		},
	}})
	return err
}

// unplug deletes a virtio disk.
func (p *plugs) unplug(id string) error {
	_, err := p.blks.DeleteVirtioBlk(p.t.Context(), &pb.DeleteVirtioBlkRequest{Name: "virtioBlks/" + id, AllowMissing: true})
	return err
}

// insist makes a call that must succeed, and makes it again where the bridge says to: a guest under
// emulation may take longer to let a device go than the bridge waits in one call.
func (n *node) insist(call func() error) {
	n.t.Helper()
	testkit.Eventually(n.t, "the bridge has done it", func() error {
		err := call()
		if code := status.Code(err); code != codes.Unavailable && code != codes.DeadlineExceeded {
			n.must(err)
		}
		return err
	})
}

// ofSize matches a disk by its size, by which the test tells them apart.
func ofSize(mebibytes uint64) func(guest.Disk) bool {
	return func(d guest.Disk) bool { return d.SizeBytes == mebibytes*mib }
}

// sees waits for the disk of a size and returns its path.
func (p *plugs) sees(mebibytes uint64) string {
	p.t.Helper()
	return "/dev/" + find(p.t, p.guest, fmt.Sprintf("the disk of %d MiB", mebibytes), ofSize(mebibytes)).Name
}

// slot returns the PCI address of a disk in the guest, without that of its bus if that is a bridge's.
func (p *plugs) slot(device string) string {
	p.t.Helper()
	path := p.guest.Shell("readlink -f /sys/block/" + filepath.Base(device) + "/device/..")
	return strings.TrimSpace(path[strings.LastIndexByte(path, ':')+1:])
}

// comeAndGo makes a disk, looks where it is, and deletes it.
func (p *plugs) comeAndGo(volume string, mebibytes uint64, port, physical, virtual int32, slot string) {
	p.t.Helper()
	id := fmt.Sprintf("disk-%d", mebibytes)
	began := time.Now()
	p.insist(func() error { return p.plug(p.t.Context(), id, volume, port, physical, virtual) })
	made := time.Since(began)
	found := p.sees(mebibytes)
	seen := time.Since(began)
	if got := p.slot(found); got != slot {
		p.t.Errorf("%s is at %s, want %s", id, got, slot)
	}
	p.guest.Shell("dd if=" + found + " of=/dev/null bs=64k count=4")
	began = time.Now()
	p.insist(func() error { return p.unplug(id) })
	unplugged := time.Since(began)
	gone(p.t, p.guest, id, ofSize(mebibytes))
	p.t.Logf("port %d, function %d: made in %s, seen after %s, deleted in %s",
		port, physical+virtual, milliseconds(made), milliseconds(seen), milliseconds(unplugged))
}

// refused wants an error of that code which names every one of words.
func refused(t *testing.T, err error, code codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("%v, want %v", err, code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not name %q: %v", w, err)
		}
	}
}

// TestHotPlug has disks come and go in a running guest.
func TestHotPlug(t *testing.T) {
	p := newPlugs(t, "pci.opi.0,pci.opi.1,pci.0",
		"-device", "pci-bridge,id=pci.opi.0,chassis_nr=1", "-device", "pci-bridge,id=pci.opi.1,chassis_nr=2")
	ctx := t.Context()
	volumes := map[uint64]string{}
	for _, size := range []uint64{4, 5, 6, 7} { // MiB
		volumes[size] = p.file(fmt.Sprintf("file-%d", size), int64(size*mib))
	}
	refused(t, p.plug(ctx, "early", volumes[4], 0, 0, 3), codes.Unavailable, "QEMU")
	_, err := p.blks.GetVirtioBlk(ctx, &pb.GetVirtioBlkRequest{Name: "virtioBlks/early"})
	refused(t, err, codes.NotFound)
	p.start()
	testkit.Eventually(t, "the first disk is plugged", func() error { return p.plug(ctx, "disk-4", volumes[4], 0, 0, 3) })
	device := p.sees(4)
	p.guest.StartLoad(guest.Load{Device: device, IOSizeBytes: 4096, Depth: 4, WritePercent: 50, Seed: 5})

	t.Run("buses", func(t *testing.T) {
		for _, row := range []struct {
			size                    uint64
			port, physical, virtual int32
			slot                    string
		}{
			{5, 0, 1, 32, "01.0"}, // runs on into the second bus
			{6, 1, 0, 31, "1f.0"},
			{7, 2, 0, 9, "09.0"},
		} {
			p.comeAndGo(volumes[row.size], row.size, row.port, row.physical, row.virtual, row.slot)
		}
		if got := p.slot(device); got != "03.0" {
			t.Errorf("the first disk is at %s", got)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		refused(t, p.plug(ctx, "taken", volumes[5], 2, 0, 1), codes.FailedPrecondition, "bus pci.0, slot 1")
		refused(t, p.plug(ctx, "beyond", volumes[5], 0, 0, 96), codes.InvalidArgument, "pcie_id", "pci.opi.0, pci.opi.1, pci.0")
		if left, _ := filepath.Glob(filepath.Join(p.sockets, "*")); len(left) != 1 {
			t.Errorf("sockets %q are left", left)
		}
	})
	t.Run("deaths", func(t *testing.T) {
		for what, die := range map[string]func(){"bridge": p.bridge.Restart, "data plane": p.dataPlane.Restart} {
			p.guest.MarkLoad(device)
			die()
			p.whole()
			moves(t, p.guest, device, "after the "+what+" has died")
			clean(t, what, p.guest.MarkLoad(device))
		}
	})
	lastLook(t, p.guest, device)

	t.Run("ejected by the guest", func(*testing.T) {
		p.insist(func() error { return p.plug(ctx, "disk-5", volumes[5], 2, 0, 9) })
		p.sees(5)
		p.guest.Shell("echo 0 > /sys/bus/pci/slots/9/power")
		p.sees(5)
	})
	t.Run("restart of QEMU", func(*testing.T) {
		want := p.guest.Shell("sync; sha256sum < " + device)
		p.guest.Kill()
		testkit.Eventually(t, "a disk of a guest that is off is deleted", func() error { return p.unplug("disk-5") })
		p.start()
		if got := p.guest.Shell("sha256sum < " + p.sees(4)); got != want {
			t.Errorf("the disk holds %s, held %s", got, want)
		}
		gone(t, p.guest, "the disk that was deleted", ofSize(5))
		p.insist(func() error { return p.unplug("disk-4") })
		gone(t, p.guest, "the first disk", ofSize(4))
	})
	t.Run("crashes of the bridge", func(*testing.T) { p.crash(volumes[6]) })
	if left, _ := filepath.Glob(filepath.Join(p.sockets, "*")); len(left) != 0 {
		t.Errorf("sockets %q are left", left)
	}
}

// TestHotPlugOnPCIExpress has them come and go on root ports, which have one slot each, and on a bridge
// behind them.
func TestHotPlugOnPCIExpress(t *testing.T) {
	p := newPlugs(t, "port.0,port.1,pci.opi.0", "-machine", "q35",
		"-device", "pcie-root-port,id=port.0,chassis=1,slot=1", "-device", "pcie-root-port,id=port.1,chassis=2,slot=2",
		"-device", "pcie-pci-bridge,id=pci.express", "-device", "pci-bridge,id=pci.opi.0,chassis_nr=3,bus=pci.express,addr=1")
	p.start()
	for i, row := range []struct {
		port, virtual int32
		slot          string
	}{{0, 0, "00.0"}, {1, 0, "00.0"}, {2, 7, "07.0"}} {
		size := uint64(4 + i)
		p.comeAndGo(p.file(fmt.Sprintf("file-%d", size), int64(size*mib)), size, row.port, 0, row.virtual, row.slot)
	}
	refused(t, p.plug(t.Context(), "nowhere", "aioVolumes/file-4", 0, 0, 1), codes.FailedPrecondition, "bus port.0, slot 1")
}

// amid kills the bridge that long after a request was made, and starts it again.
func (n *node) amid(after time.Duration, do func(context.Context) error) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	<-time.After(after)
	n.bridge.Kill()
	cancel()
	<-done // whatever it says
	n.bridge.Start()
	n.whole()
}

// crash kills the bridge at several moments of a plugging and of an unplugging: what is listed after is what the
// guest has, and nothing is left of what is not.
func (p *plugs) crash(volume string) {
	p.t.Helper()
	for i := range 6 {
		p.amid(time.Duration(i)*3*time.Millisecond, func(ctx context.Context) error { return p.plug(ctx, "crash", volume, 0, 0, 12) })
		p.agree()
		testkit.Eventually(p.t, "it is plugged", func() error { return p.plug(p.t.Context(), "crash", volume, 0, 0, 12) })
		p.sees(6)
		p.amid(time.Duration(i)*20*time.Millisecond, func(ctx context.Context) error {
			_, err := p.blks.DeleteVirtioBlk(ctx, &pb.DeleteVirtioBlkRequest{Name: "virtioBlks/crash"})
			return err
		})
		p.agree()
		testkit.Eventually(p.t, "it is unplugged", func() error { return p.unplug("crash") })
		gone(p.t, p.guest, "the disk", ofSize(6))
	}
}

// agree waits until the guest has the disk exactly if the bridge lists it.
func (p *plugs) agree() {
	p.t.Helper()
	testkit.Eventually(p.t, "bridge and guest agree", func() error {
		list, err := p.blks.ListVirtioBlks(p.t.Context(), &pb.ListVirtioBlksRequest{})
		if err != nil {
			return err
		}
		has := 0
		for _, d := range p.guest.Disks() {
			if ofSize(6)(d) {
				has++
			}
		}
		if len(list.GetVirtioBlks()) != has {
			return fmt.Errorf("%d are listed, the guest has %d", len(list.GetVirtioBlks()), has)
		}
		return nil
	})
}
