// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"fmt"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// factShown is how large the volume behind a disk was when it was first shown to hosts, and which
// volume that was: "4096x512 mallocVolumes/vol-1".
const factShown = "shown"

// noteShown notes the extent of the volume that a disk is to have, unless that has been done.
func noteShown(c resource.Completion, ref string) {
	if _, of, _ := strings.Cut(c.Facts[factShown], " "); of == ref {
		return
	}
	name, err := c.View.Bdev(ref)
	if err != nil {
		return // it is refused elsewhere
	}
	if b, ok := c.View.Observed(driver.BdevKey(name)).(*driver.Bdev); ok && b.Blocks > 0 && b.BlockSizeBytes > 0 {
		c.Facts[factShown] = fmt.Sprintf("%dx%d %s", b.Blocks, b.BlockSizeBytes, ref)
	}
}

// shown returns what was noted for the volume that a disk has now.
func shown(r *resource.Record, ref string) driver.Extent {
	size, of, _ := strings.Cut(r.Facts[factShown], " ")
	var e driver.Extent
	if _, err := fmt.Sscanf(size, "%dx%d", &e.Blocks, &e.BlockSizeBytes); err != nil || of != ref {
		return driver.Extent{}
	}
	return e
}
