// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

const (
	// tcpInCapsuleBytes is how much data a write command of a host carries with it over TCP. SPDK's own
	// 4 KiB makes every 8 KiB database page wait for a round trip more. This costs 1 MiB a queue.
	tcpInCapsuleBytes = 8192
	// rdmaInCapsuleBytes is SPDK's own, written down because more is dangerous: SPDK warns that with more
	// than 4 KiB the writes of hosts with Linux 5.4 to 5.12 may be corrupted.
	rdmaInCapsuleBytes = 4096
	// rdmaQueueDepth is how many commands a host may have under way in one queue. SPDK's own 128 is
	// written down because the memory of each queue, and the work requests that the card must have,
	// follow from it: a card of 16 cores with 1,000 queues stays within what mlx5 offers.
	rdmaQueueDepth = 128
	// rdmaSmallBuffers and rdmaLargeBuffers (8 KiB and 132 KiB) are how many of SPDK's shared buffers each
	// core keeps aside for RDMA. Left to itself each transport takes half of all there are, since v26.05:
	// the second finds too few, complains, and goes without. These are those of two full queues, and a
	// sixteenth of the large ones on two cores; further ones come from what is shared.
	rdmaSmallBuffers = 256
	rdmaLargeBuffers = 32
)

// transportOptions returns how a transport is made; what is left out is SPDK's default.
func transportOptions(t driver.Transport) spdkrpc.NvmfCreateTransport {
	params := spdkrpc.NvmfCreateTransport{Trtype: string(t)}
	switch t { //nolint:exhaustive // vfio-user is none of package driver's, and has nothing to set
	case driver.TransportTCP:
		params.InCapsuleDataSize = tcpInCapsuleBytes
	case driver.TransportRDMA:
		params.InCapsuleDataSize = rdmaInCapsuleBytes
		params.MaxQueueDepth = rdmaQueueDepth
		params.IobufSmallCacheSize, params.IobufLargeCacheSize = rdmaSmallBuffers, rdmaLargeBuffers
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

// encrypts says whether the transport can carry TLS with pre-shared keys. SPDK takes the key with any, and
// over the others goes on in the clear.
func encrypts(t driver.Transport) bool { return t != driver.TransportRDMA }
