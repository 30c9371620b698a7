// SPDX-License-Identifier: Apache-2.0

package spdkrpc

import "context"

// RateLimits are the limits of a bdev; 0 is none.
type RateLimits struct {
	RWIOPerSec     uint64 `json:"rw_ios_per_sec"`    // a multiple of 1000
	RWMBytesPerSec uint64 `json:"rw_mbytes_per_sec"` // MiB, as the next two
	RMBytesPerSec  uint64 `json:"r_mbytes_per_sec"`
	WMBytesPerSec  uint64 `json:"w_mbytes_per_sec"`
}

// BdevSetQosLimit are parameters of bdev_set_qos_limit. All four are always sent: what were left out
// would stay, and on a bdev that nobody uses only one call works.
type BdevSetQosLimit struct {
	Name string `json:"name"`
	RateLimits
}

// Do makes the call. Since v25.09 every call but the first is refused with CodeInvalidParams while
// nobody uses the bdev.
func (p BdevSetQosLimit) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "bdev_set_qos_limit", p, nil)
}
