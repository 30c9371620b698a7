// SPDX-License-Identifier: Apache-2.0

package api

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/jaypipes/pcidb"
	pb "github.com/opiproject/opi-api/inventory/v1/gen/go"
)

// pci lists the PCI devices in the order of their addresses. Their names come from the machine's
// pci.ids file; where there is none, as in most containers, or it does not know a device, the numbers
// stand in their place. (The library that tells of the rest can do neither: without the file it lists
// nothing, and it looks for the file in the user's home first.)
func (m machine) pci() []*pb.PCIeDeviceInfo {
	devices := filepath.Join(m.root, "sys/bus/pci/devices")
	entries, err := os.ReadDir(devices)
	if err != nil || len(entries) == 0 {
		return nil
	}
	names := m.pciNames()
	all := make([]*pb.PCIeDeviceInfo, len(entries))
	for i, entry := range entries {
		all[i] = pciDevice(filepath.Join(devices, entry.Name()), names)
	}
	return all
}

// pciDevice tells of the device whose files lie in dir.
func pciDevice(dir string, names *pcidb.PCIDB) *pb.PCIeDeviceInfo {
	device := &pb.PCIeDeviceInfo{Address: filepath.Base(dir), Revision: firstLine(filepath.Join(dir, "revision"))}
	if driver, err := os.Readlink(filepath.Join(dir, "driver")); err == nil {
		device.Driver = filepath.Base(driver)
	}
	number := func(file string) string { return strings.TrimPrefix(firstLine(filepath.Join(dir, file)), "0x") }
	device.Vendor, device.Product, device.Subsystem = number("vendor"), number("device"), number("subsystem_device")
	class := number("class") // base class, subclass and programming interface, two digits each
	if len(class) == 6 {
		device.Class, device.Subclass = class[:2], class[2:4]
	}
	if product := names.Products[device.Vendor+device.Product]; product != nil {
		for _, subsystem := range product.Subsystems {
			if subsystem.VendorID == number("subsystem_vendor") && subsystem.ID == device.Subsystem {
				device.Subsystem = subsystem.Name
				break
			}
		}
		device.Product = product.Name
	}
	if vendor := names.Vendors[device.Vendor]; vendor != nil {
		device.Vendor = vendor.Name
	}
	if known := names.Classes[device.Class]; known != nil {
		for _, subclass := range known.Subclasses {
			if subclass.ID == device.Subclass {
				device.Subclass = subclass.Name
				break
			}
		}
		device.Class = known.Name
	}
	return device
}

// pciNames reads the first file of PCI names that there is, and never asks the network.
func (m machine) pciNames() *pcidb.PCIDB {
	for _, path := range []string{
		"usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids.gz", "usr/share/misc/pci.ids.gz",
	} {
		names, err := pcidb.New(pcidb.WithPath(filepath.Join(m.root, path)), &pcidb.WithOption{EnableNetworkFetch: new(false)})
		if err == nil {
			return names
		}
	}
	return &pcidb.PCIDB{}
}

// firstLine returns the first line of a file in /sys, "" if there is none.
func firstLine(path string) string {
	raw, err := os.ReadFile(path) //nolint:gosec // a name below the machine's root
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	return strings.TrimSpace(line)
}
