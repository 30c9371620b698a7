// SPDX-License-Identifier: Apache-2.0

package bdev

import "time"

// TickRate is the number of ticks per second in which latencies and [Ticks] are given.
const TickRate = uint64(time.Second)

// epoch is what nanotime counts from. It is never changed.
var epoch = time.Now()

// nanotime returns a monotonic time in nanoseconds.
func nanotime() int64 { return int64(time.Since(epoch)) }

// Ticks returns the monotonic time of the process in ticks, which count from its start.
func Ticks() uint64 { return uint64(nanotime()) } //nolint:gosec // monotonic since epoch, so never negative
