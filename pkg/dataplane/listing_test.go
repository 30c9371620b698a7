// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkListing lists many objects, as the control plane does to find out what is there.
func BenchmarkListing(b *testing.B) {
	const bdevs, subsystems = 10000, 1000
	_, path := serve(b)
	c := dial(b, path)
	_ = c.conn.SetDeadline(time.Time{})
	for i := range bdevs {
		c.must("bdev_null_create", fmt.Sprintf(`{"name":"d%d","block_size":4096,"num_blocks":256}`, i))
	}
	for i := range subsystems {
		nqn := fmt.Sprintf(`"nqn":"nqn.2016-06.io.spdk:d%d"`, i)
		c.must("nvmf_create_subsystem", "{"+nqn+"}")
		for j := range bdevs / subsystems {
			c.must("nvmf_subsystem_add_ns", fmt.Sprintf(`{%s,"namespace":{"bdev_name":"d%d"}}`, nqn, i*(bdevs/subsystems)+j))
		}
	}
	for _, method := range []string{"bdev_get_bdevs", "nvmf_get_subsystems"} {
		b.Run(method, func(b *testing.B) {
			for b.Loop() {
				b.SetBytes(int64(len(c.must(method, ""))))
			}
		})
	}
}
