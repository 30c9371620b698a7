// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// sectorBytes is the unit of sizes in sysfs, whatever the block size.
const sectorBytes = 512

// disks lists the disks, without the single paths of NVMe disks, which the kernel hides.
func disks() ([]Disk, error) {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return nil, fmt.Errorf("list the disks: %w", err)
	}
	all := []Disk{}
	for _, e := range entries {
		at := func(name string) string {
			// A disk may go while it is looked at: what is no longer there is empty.
			b, _ := os.ReadFile(filepath.Join("/sys/block", e.Name(), name)) //nolint:gosec // of sysfs
			return strings.TrimSpace(string(b))
		}
		number := func(name string) uint64 {
			n, _ := strconv.ParseUint(at(name), 10, 64)
			return n
		}
		if at("hidden") == "1" {
			continue
		}
		d := Disk{
			Name: e.Name(), SizeBytes: number("size") * sectorBytes, BlockSizeBytes: number("queue/logical_block_size"),
			UUID: at("uuid"), NGUID: at("nguid"), EUI64: at("eui"), NSID: at("nsid"), WWID: at("wwid"),
			Serial: at("device/serial"), Model: at("device/model"), SubsystemNQN: at("device/subsysnqn"),
		}
		if d.Serial == "" {
			d.Serial = at("serial")
		}
		all = append(all, d)
	}
	return all, nil
}
