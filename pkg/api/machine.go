// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"log/slog"
	"math"

	"github.com/jaypipes/ghw"
	pb "github.com/opiproject/opi-api/inventory/v1/gen/go"
)

// machine tells what the firmware (SMBIOS, or a device tree) and the kernel know of a machine. What
// they do not know stays empty.
type machine struct {
	root string // where /proc and /sys lie
}

// inventory reads everything. A part that cannot be read is left out.
func (m machine) inventory(ctx context.Context) *pb.Inventory {
	silent := ghw.WithLogger(slog.New(slog.DiscardHandler)) // what it cannot find out is seen in the answer
	ctx = silent(ghw.WithDisableTools()(ghw.WithDisableTopology()(ghw.WithChroot(m.root)(ctx))))
	all := &pb.Inventory{}
	if bios, err := ghw.BIOS(ctx); err == nil {
		all.Bios = &pb.BIOSInfo{Vendor: known(bios.Vendor), Version: known(bios.Version), Date: known(bios.Date)}
	}
	if product, err := ghw.Product(ctx); err == nil {
		all.System = &pb.SystemInfo{
			Family: known(product.Family), Name: known(product.Name), Vendor: known(product.Vendor),
			SerialNumber: known(product.SerialNumber), Uuid: known(product.UUID), Sku: known(product.SKU), Version: known(product.Version),
		}
	}
	if board, err := ghw.Baseboard(ctx); err == nil {
		all.Baseboard = &pb.BaseboardInfo{
			AssetTag: known(board.AssetTag), SerialNumber: known(board.SerialNumber),
			Vendor: known(board.Vendor), Version: known(board.Version), Product: known(board.Product),
		}
	}
	if chassis, err := ghw.Chassis(ctx); err == nil {
		all.Chassis = &pb.ChassisInfo{
			AssetTag: known(chassis.AssetTag), SerialNumber: known(chassis.SerialNumber), Type: known(chassis.Type),
			TypeDescription: known(chassis.TypeDescription), Vendor: known(chassis.Vendor), Version: known(chassis.Version),
		}
	}
	if cpu, err := ghw.CPU(ctx); err == nil {
		all.Processor = &pb.CPUInfo{TotalCores: count(cpu.TotalCores), TotalThreads: count(cpu.TotalHardwareThreads)}
	}
	if memory, err := ghw.Memory(ctx); err == nil {
		all.Memory = &pb.MemoryInfo{TotalUsableBytes: memory.TotalUsableBytes}
		// The library says the same for both when it could not find out the first. They are never the
		// same in truth: the kernel keeps some for itself.
		if memory.TotalPhysicalBytes != memory.TotalUsableBytes {
			all.Memory.TotalPhysicalBytes = memory.TotalPhysicalBytes
		}
	}
	all.Pci = m.pci()
	return all
}

// unknownWord is what the library says where it found nothing.
const unknownWord = "unknown"

func known(s string) string {
	if s == unknownWord {
		return ""
	}
	return s
}

func count(n uint32) int32 { return int32(min(n, math.MaxInt32)) }
