// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	pb "github.com/opiproject/opi-api/inventory/v1/gen/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs/errgrpc"
)

// inventoryOf returns a client of the inventory of the machine whose files lie below root.
func inventoryOf(t *testing.T, root string) pb.InventoryServiceClient {
	t.Helper()
	server := grpc.NewServer(grpc.UnaryInterceptor(errgrpc.UnaryServer))
	api.RegisterInventory(server, root)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(errgrpc.UnaryClient))
	must(t, err)
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		must(t, <-ended)
	})
	return pb.NewInventoryServiceClient(conn)
}

// files writes a tree of files and returns where it lies. A value that begins with "->" is a symbolic
// link to what follows.
func files(t *testing.T, tree map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range tree {
		path = filepath.Join(root, path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		if target, ok := cutLink(content); ok {
			must(t, os.Symlink(target, path))
		} else {
			must(t, os.WriteFile(path, []byte(content), 0o600))
		}
	}
	return root
}

func cutLink(content string) (string, bool) {
	if len(content) > 2 && content[:2] == "->" {
		return content[2:], true
	}
	return "", false
}

// networkCard returns a tree with a PCI device in it.
func networkCard(tree map[string]string) map[string]string {
	for file, content := range map[string]string{
		"vendor": "0x15b3", "device": "0xa2d6", "subsystem_vendor": "0x15b3", "subsystem_device": "0x0069", "class": "0x020000",
	} {
		tree["sys/bus/pci/devices/0000:03:00.0/"+file] = content + "\n"
	}
	return tree
}

func TestInventoryOfAnX86Card(t *testing.T) {
	t.Parallel()
	root := files(t, networkCard(map[string]string{
		"sys/class/dmi/id/bios_vendor":                             "Some Firmware Ltd\n",
		"sys/class/dmi/id/bios_version":                            "4.11\n",
		"sys/class/dmi/id/bios_date":                               "03/14/2026\n",
		"sys/class/dmi/id/product_name":                            "Card 3000\n",
		"sys/class/dmi/id/sys_vendor":                              "Card Makers\n",
		"sys/class/dmi/id/product_serial":                          "SER-1\n",
		"sys/class/dmi/id/board_vendor":                            "Card Makers\n",
		"sys/class/dmi/id/chassis_type":                            "23\n",
		"proc/meminfo":                                             "MemTotal:       16000000 kB\n",
		"proc/cpuinfo":                                             "processor\t: 0\nvendor_id\t: X\n\nprocessor\t: 1\nvendor_id\t: X\n\n",
		"sys/devices/system/memory/block_size_bytes":               "40000000\n",
		"sys/devices/system/memory/memory0/online":                 "1\n",
		"sys/devices/system/memory/memory0/state":                  "online\n",
		"sys/devices/system/cpu/cpu0/topology/core_id":             "0\n",
		"sys/devices/system/cpu/cpu0/topology/physical_package_id": "0\n",
		"sys/devices/system/cpu/cpu1/topology/core_id":             "0\n",
		"sys/devices/system/cpu/cpu1/topology/physical_package_id": "0\n",
		"sys/bus/pci/devices/0000:03:00.0/revision":                "0x01\n",
		"sys/bus/pci/drivers/mlx5_core/bind":                       "",
		"sys/bus/pci/devices/0000:03:00.0/driver":                  "->../../drivers/mlx5_core",
		"usr/share/misc/pci.ids":                                   "15b3  Fast Networks\n\ta2d6  Card with cores\n\t\t15b3 0069  Card with cores, small\n\ta2d7  Another card\nffff  Nobody\n\tffff  Nothing\n\nC 02  Network controller\n\t00  Ethernet controller\n\t80  Network controller\nC ff  Other\n",
	}))
	got, err := inventoryOf(t, root).GetInventory(t.Context(), &pb.GetInventoryRequest{Name: "inventory/1/inventory/2"})
	must(t, err)
	want := &pb.Inventory{
		Bios:      &pb.BIOSInfo{Vendor: "Some Firmware Ltd", Version: "4.11", Date: "03/14/2026"},
		System:    &pb.SystemInfo{Name: "Card 3000", Vendor: "Card Makers", SerialNumber: "SER-1"},
		Baseboard: &pb.BaseboardInfo{Vendor: "Card Makers"},
		Chassis:   &pb.ChassisInfo{Type: "23", TypeDescription: "Rack mount chassis"},
		Processor: &pb.CPUInfo{TotalCores: 1, TotalThreads: 2},
		Memory:    &pb.MemoryInfo{TotalUsableBytes: 16000000 << 10, TotalPhysicalBytes: 1 << 30},
		Pci: []*pb.PCIeDeviceInfo{{
			Driver: "mlx5_core", Address: "0000:03:00.0", Vendor: "Fast Networks", Product: "Card with cores", Revision: "0x01",
			Subsystem: "Card with cores, small", Class: "Network controller", Subclass: "Ethernet controller",
		}},
	}
	if !proto.Equal(got, want) {
		t.Errorf("inventory is\n%s\nwant\n%s", prototext.Format(got), prototext.Format(want))
	}
}

// An Arm card without SMBIOS has a device tree, and no pci.ids file: what nobody knows stays empty.
func TestInventoryOfAnArmCard(t *testing.T) {
	t.Parallel()
	root := files(t, networkCard(map[string]string{
		"sys/firmware/devicetree/base/model":         "Card Makers Arm Card\x00",
		"sys/firmware/devicetree/base/compatible":    "cards,arm-card\x00soc,arm\x00",
		"sys/firmware/devicetree/base/serial-number": "ARM-7\x00",
		"proc/meminfo": "MemTotal:        8000000 kB\n",
	}))
	got, err := inventoryOf(t, root).GetInventory(t.Context(), &pb.GetInventoryRequest{})
	must(t, err)
	if got.GetSystem().GetName() != "Card Makers Arm Card" || got.GetSystem().GetSerialNumber() != "ARM-7" ||
		got.GetMemory().GetTotalUsableBytes() != 8000000<<10 {
		t.Errorf("inventory is %s", prototext.Format(got))
	}
	if got.GetSystem().GetUuid() != "" || got.GetBios().GetDate() != "" || got.GetMemory().GetTotalPhysicalBytes() != 0 || got.GetProcessor().GetTotalCores() != 0 {
		t.Errorf("inventory tells what nobody knows: %s", prototext.Format(got))
	}
	want := &pb.PCIeDeviceInfo{Address: "0000:03:00.0", Vendor: "15b3", Product: "a2d6", Subsystem: "0069", Class: "02", Subclass: "00"}
	if len(got.GetPci()) != 1 || !proto.Equal(got.GetPci()[0], want) {
		t.Errorf("PCI devices are %v, want %v", got.GetPci(), want)
	}
}

func TestInventoryOfNothingAndOfThisMachine(t *testing.T) {
	t.Parallel()
	got, err := inventoryOf(t, t.TempDir()).GetInventory(t.Context(), &pb.GetInventoryRequest{})
	must(t, err)
	if text := prototext.Format(got); got.GetMemory() != nil || len(got.GetPci()) > 0 || got.GetSystem().GetVendor() != "" {
		t.Errorf("the inventory of nothing is %s", text)
	}
	here := inventoryOf(t, "")
	got, err = here.GetInventory(t.Context(), &pb.GetInventoryRequest{Name: "inventory/a/inventory/b"})
	must(t, err)
	if got.GetProcessor().GetTotalThreads() < 1 || got.GetMemory().GetTotalUsableBytes() < 1 {
		t.Errorf("this machine has neither processor nor memory: %s", prototext.Format(got))
	}
	_, err = here.GetInventory(t.Context(), &pb.GetInventoryRequest{Name: "inventory/../inventory/b"})
	refused(t, "a name of another form", err, errdefs.InvalidArgument, "name", "must be empty, or have the form")
}
