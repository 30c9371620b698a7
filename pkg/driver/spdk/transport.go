// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

const (
	// inCapsuleBytes is how much data a write command of a host carries with it. SPDK's own 4 KiB makes
	// every 8 KiB database page wait for a round trip more. With TCP this costs 1 MiB a queue. With RDMA
	// all queues of a core share receive buffers (4,096 of them), so it is 32 MiB a core.
	inCapsuleBytes = 8192
	// rdmaQueueDepth is how many commands a host may have under way in one queue. SPDK's own 128 is
	// written down because the memory of each queue, and the work requests that the card must have,
	// follow from it: a card of 16 cores with 1,000 queues stays within what mlx5 offers.
	rdmaQueueDepth = 128
)

// transportOptions returns how a transport is made; what is left out is SPDK's default.
func transportOptions(t driver.Transport) spdkrpc.NvmfCreateTransport {
	params := spdkrpc.NvmfCreateTransport{Trtype: string(t)}
	switch t { //nolint:exhaustive // vfio-user is none of package driver's, and has nothing to set
	case driver.TransportTCP:
		params.InCapsuleDataSize = inCapsuleBytes
	case driver.TransportRDMA:
		params.InCapsuleDataSize = inCapsuleBytes
		params.MaxQueueDepth = rdmaQueueDepth
	}
	return params
}

// transportLack says what is missing where a transport was built in and cannot be created.
func transportLack(t driver.Transport) string {
	if t == driver.TransportRDMA {
		return "there is no RDMA device that the data plane can use, or too little memory"
	}
	return "is there a device for it, and memory?"
}
