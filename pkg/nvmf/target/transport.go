// SPDX-License-Identifier: Apache-2.0

package target

import (
	"math"
	"math/bits"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// TransportOptions are the limits of the TCP transport. Zero means the default, which is SPDK's.
type TransportOptions struct {
	// MaxQueueDepth is the size of an I/O queue, 2 to 65535. Default 128.
	MaxQueueDepth uint16
	// MaxAQDepth is the size of an admin queue, 32 to 4096. Default 128.
	MaxAQDepth uint16
	// MaxIOQpairsPerController is the number of I/O queues a host may have. Default 127.
	MaxIOQpairsPerController uint16
	// InCapsuleDataSizeBytes is the data a command may bring along, a multiple of 16 of at most
	// 65536. Default 4096. Admin and fabrics commands may always bring 8192.
	InCapsuleDataSizeBytes uint32
	// MaxIOSizeBytes is the data of one command, a power of two from 8192 to 4 MiB. Default 131072.
	MaxIOSizeBytes uint32
	// NoC2HSuccess always sends a completion after the data of a read. Without it the completion
	// is left out for hosts that do without flow control of their submission queues.
	NoC2HSuccess bool
	// KAS is the granularity of the keep alive timer in units of 100 ms. Default 100.
	KAS uint16
	// MinKATOMillis is the shortest keep alive timeout. Default 10000.
	MinKATOMillis uint32
	// SocketPriority is the priority of connections for the network, 0 to 16 (socket(7), SO_PRIORITY; above
	// 6 it is a privilege). Default 0.
	SocketPriority uint32
	// AckTimeoutMillis is how long sent data may stay unacknowledged before a connection ends (tcp(7),
	// TCP_USER_TIMEOUT); 0 leaves it to the system.
	AckTimeoutMillis uint32
}

func (o *TransportOptions) setDefaults() {
	setDefault(&o.MaxQueueDepth, 128)
	setDefault(&o.MaxAQDepth, 128)
	setDefault(&o.MaxIOQpairsPerController, 127)
	setDefault(&o.InCapsuleDataSizeBytes, 4096)
	setDefault(&o.MaxIOSizeBytes, 131072)
	setDefault(&o.KAS, 100)
	setDefault(&o.MinKATOMillis, 10000)
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (o *TransportOptions) validate() error {
	var bad []errdefs.FieldViolation
	check := func(ok bool, field, description string) {
		if !ok {
			bad = append(bad, errdefs.FieldViolation{Field: field, Description: description})
		}
	}
	check(o.MaxQueueDepth >= 2, "max_queue_depth", "must be at least 2")
	check(o.MaxAQDepth >= 32 && o.MaxAQDepth <= 4096, "max_aq_depth", "must be from 32 to 4096")
	check(o.MaxIOQpairsPerController < 65535, "max_io_qpairs_per_ctrlr", "must be below 65535")
	check(o.InCapsuleDataSizeBytes%16 == 0 && o.InCapsuleDataSizeBytes <= 65536, "in_capsule_data_size", "must be a multiple of 16 of at most 65536")
	check(o.MaxIOSizeBytes >= 8192 && o.MaxIOSizeBytes <= 4<<20 && bits.OnesCount32(o.MaxIOSizeBytes) == 1, "max_io_size", "must be a power of two from 8192 to 4194304")
	check(o.SocketPriority <= 16, "sock_priority", "must be at most 16")
	check(o.AckTimeoutMillis <= math.MaxInt32, "ack_timeout", "must be below 2^31")
	return errdefs.Invalid(bad)
}

// CreateTransport makes the TCP transport, which listeners need. Doing it twice is AlreadyExists,
// options out of range are InvalidArgument.
func (t *Target) CreateTransport(o TransportOptions) error {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.transport != nil {
		return errdefs.New(errdefs.AlreadyExists, "the TCP transport exists already")
	}
	t.transport = &o
	return nil
}

// Transport returns the options in force, and whether the transport has been created.
func (t *Target) Transport() (TransportOptions, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.transport == nil {
		return TransportOptions{}, false
	}
	return *t.transport, true
}
