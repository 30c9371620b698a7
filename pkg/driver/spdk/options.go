// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"fmt"
	"sync"

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
	// ackTries is how often an RDMA adapter sends again what nobody acknowledges, before the path counts as
	// lost. SPDK's own 4 loses paths at hiccups of 70 ms. 7 is the most there is, and soft-RoCE takes it for
	// ever: a wire that is cut would never be noticed.
	ackTries = 6
	// connectTimeoutMs bounds a TCP connect to a peer that drops packets, which takes the kernel over
	// two minutes otherwise.
	connectTimeoutMs = 5000
)

// setOptions sets what can be set for all controllers only. SPDK takes options as long as it has no
// controller, and is left alone when it has: they were set by whoever attached the first. What is not
// given stays as it is. An unknown option has the whole call refused, so those that some data planes
// lack go in calls of their own.
func (d *Driver) setOptions(ctx context.Context, c spdkrpc.Caller, f spdkrpc.Features) error {
	sets := []spdkrpc.NvmeSetOptions{
		{
			BdevRetryCount:       new(int32(retryForEver)),
			CtrlrLossTimeoutSec:  new(int32(lossTimeout)),
			ReconnectDelaySec:    new(uint32(reconnectDelay)),
			FastIOFailTimeoutSec: new(uint32(fastFail)),
		},
		{IOPathStat: new(true)}, // so that operators can see what each path carries
		{TransportAckTimeout: new(uint8(ackTimeout))},
		{TransportRetryCount: new(uint32(ackTries))},
	}
	if f.TCPConnectTimeout {
		sets = append(sets, spdkrpc.NvmeSetOptions{TCPConnectTimeoutMs: new(uint64(connectTimeoutMs))})
	}
	errs := make([]error, len(sets))
	var calls sync.WaitGroup
	for i, set := range sets {
		calls.Go(func() { errs[i] = set.Do(ctx, c) })
	}
	calls.Wait()
	for i, err := range errs {
		switch r := spdkrpc.Refusal(err); {
		case err == nil:
		case r == nil:
			return fmt.Errorf("set NVMe options: %w", err)
		case r.Code == spdkrpc.CodePerm:
			d.log.Debug("NVMe options stay as they are, because controllers are attached")
			return nil
		case i == 0:
			// Each attach carries what matters most of them.
			d.log.Warn("NVMe options refused", "err", err)
		default:
			d.log.Info("NVMe option not available", "err", err)
		}
	}
	return nil
}
