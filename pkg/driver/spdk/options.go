// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"fmt"

	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// How paths to remote targets behave. A host behind the card cannot be told that its disk is away
// for a while, so I/O waits and paths come back by themselves however long it takes.
const (
	// lossTimeout: a controller is never given up; its bdevs, and the host's disk, stay.
	lossTimeout = -1
	// reconnectDelay: a storage node that is back is found within a second.
	reconnectDelay = 1
	// fastFail: I/O is never failed for want of a path, it waits for one.
	fastFail = 0
	// retryForEver: I/O that failed on one path is tried on the others again and again.
	retryForEver = -1
	// ackTimeout is an exponent of two. For TCP 2^12 ms: a peer that has vanished without a word is
	// noticed after 4 s, before the keep-alive of 10 s. For RDMA 2^12 * 4.096 us: 17 ms a try.
	ackTimeout = 12
	// connectTimeoutMs bounds a TCP connect to a peer that drops packets, which takes the kernel over
	// two minutes otherwise.
	connectTimeoutMs = 5000
)

// setOptions sets what can be set for all controllers only. SPDK takes options as long as it has no
// controller, and is left alone when it has: they were set by whoever attached the first.
func (d *Driver) setOptions(ctx context.Context, c spdkrpc.Caller, f spdkrpc.Features) error {
	all := spdkrpc.NvmeSetOptions{
		BdevRetryCount:       new(int32(retryForEver)),
		CtrlrLossTimeoutSec:  new(int32(lossTimeout)),
		ReconnectDelaySec:    new(uint32(reconnectDelay)),
		FastIOFailTimeoutSec: new(uint32(fastFail)),
		TransportAckTimeout:  new(uint8(ackTimeout)),
		IOPathStat:           new(true), // path statistics are asked for by operators
	}
	if f.TCPConnectTimeout {
		all.TCPConnectTimeoutMs = new(uint64(connectTimeoutMs))
	}
	err := all.Do(ctx, c)
	if r := spdkrpc.Refusal(err); r != nil && r.Code != spdkrpc.CodePerm {
		// Some build that lacks an option refuses all of them. These have always been there.
		d.log.Warn("NVMe options refused, trying the essential ones", "err", err)
		err = spdkrpc.NvmeSetOptions{
			BdevRetryCount:      all.BdevRetryCount,
			CtrlrLossTimeoutSec: all.CtrlrLossTimeoutSec,
			ReconnectDelaySec:   all.ReconnectDelaySec,
		}.Do(ctx, c)
	}
	switch r := spdkrpc.Refusal(err); {
	case err == nil:
		return nil
	case r == nil:
		return fmt.Errorf("set NVMe options: %w", err)
	case r.Code == spdkrpc.CodePerm:
		d.log.Debug("NVMe options stay as they are, because controllers are attached")
	default:
		// Each attach carries what matters most.
		d.log.Warn("NVMe options refused", "err", err)
	}
	return nil
}
