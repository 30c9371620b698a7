// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// What the kinds that are one bdev each have in common: the bdev bears the resource's id, and its
// uuid is fixed by the create, so that hosts find the same disk again after any restart.

// completeUUID gives the uuid that the request left open: the one the volume has, or a new one.
func completeUUID(c resource.Completion, asked, prior string) string {
	switch {
	case asked != "":
		return canonicalUUID(asked)
	case prior != "":
		return prior
	}
	return c.NewUUID()
}

// bdevHolds says that names and uuids of bdevs share one name space in SPDK, whatever their kind.
func bdevHolds(name resource.Name, uuid string) []resource.Hold {
	return []resource.Hold{
		{Token: "bdev/" + name.ID(), Field: "name", What: "bdev name " + name.ID()},
		{Token: "bdev/" + uuid, Field: "uuid", What: "bdev uuid " + uuid},
	}
}

// bdevStats counts the bdev that bears the resource's id.
func bdevStats(name resource.Name) []driver.Key { return []driver.Key{driver.BdevKey(name.ID())} }

// checkBlockSize notes a block size that no SPDK bdev of this kind takes.
func checkBlockSize(v *resource.Violations, size int64) {
	v.Check(within(size, 512, maxU32) && size%512 == 0, "block_size",
		"%d must be a positive multiple of 512 bytes", size)
}
