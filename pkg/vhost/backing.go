// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"sync/atomic"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// backing is the open bdev of a controller, until the bdev is removed.
type backing struct {
	desc *bdev.Desc
	// copies says that the device touches the data of a request only within Submit.
	copies bool
	// users counts requests; closing takes shut away from it.
	users atomic.Int64
	// gone is set first when the bdev is removed.
	gone atomic.Bool
}

// shut is more than there are requests.
const shut = 1 << 32

// enter counts a request; false means that the bdev is gone.
func (b *backing) enter() bool {
	if b.users.Add(1) > 0 {
		return true
	}
	b.leave()
	return false
}

// leave ends what enter began. The last to leave a bdev that is gone closes it.
func (b *backing) leave() {
	if b.users.Add(-1) == -shut {
		_ = b.desc.Close() // Desc.Close always returns nil
	}
}

// close lets no further request in, and closes the bdev when the last is done. Only the first call
// counts.
func (b *backing) close() {
	if b.gone.Swap(true) {
		return
	}
	b.users.Add(1)
	b.users.Add(-shut)
	b.leave()
}
