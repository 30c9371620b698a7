// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"fmt"
	"math"
)

// Limits are what a bdev lets through in a second, over all its users together; 0 is no limit.
type Limits struct {
	// IOPS limits the number of reads and writes; a multiple of 1,000.
	IOPS uint64
	// Bytes, ReadBytes and WriteBytes limit what reads and writes carry, together and apart; multiples
	// of 1 MiB.
	Bytes, ReadBytes, WriteBytes uint64
}

// The units of limits. Smaller ones could not be kept with a quantum of a millisecond.
const (
	limitIOPSUnit  = 1000
	limitBytesUnit = 1 << 20
)

// check refuses limits that are not multiples of their unit.
func (l *Limits) check() error {
	if l.IOPS%limitIOPSUnit != 0 {
		return errInvalid("a limit of %d requests per second is not a multiple of %d", l.IOPS, limitIOPSUnit)
	}
	for _, b := range []uint64{l.Bytes, l.ReadBytes, l.WriteBytes} {
		if b%limitBytesUnit != 0 {
			return errInvalid("a limit of %d bytes per second is not a multiple of %d", b, limitBytesUnit)
		}
	}
	return nil
}

// SetLimits sets all limits of the bdev with that name, alias or uuid, whether it is open or not;
// the zero value takes them away. It counts for descriptors that are open as for later ones, until it
// is changed or the bdev goes. Requests that wait go on under the new limits.
//
// An unknown bdev is NotFound (ENODEV), limits that are not multiples of their units InvalidArgument
// (EINVAL).
func (r *Registry) SetLimits(name string, limits Limits) error {
	if err := limits.check(); err != nil {
		return fmt.Errorf("limits of bdev %q: %w", name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.lookup(name)
	if e == nil {
		return errNotFound(name)
	}
	switch l := e.limiter.Load(); {
	case limits == Limits{}:
		e.lift()
	case l == nil:
		e.limiter.Store(newLimiter(e.spec.Device, limits))
	default:
		l.change(limits)
	}
	return nil
}

// lift takes the limits of a bdev away. What waits goes on at once, on another goroutine.
func (e *entry) lift() {
	if l := e.limiter.Swap(nil); l != nil {
		l.change(Limits{})
	}
}

// unlimitedMemory is memory that may be read in place as long as the bdev has no limits.
type unlimitedMemory struct {
	Memory
	entry *entry
}

// Bytes implements [Memory].
func (m *unlimitedMemory) Bytes(block, count uint64) []byte {
	if m.entry.limiter.Load() != nil {
		return nil
	}
	return m.Memory.Bytes(block, count)
}

// bucket is what is left of one limit in the present quantum.
type bucket struct {
	// perQuantum is what a quantum adds; 0 is no limit.
	perQuantum int64
	// left may be negative: a request that is larger than what is left is let through, and paid for
	// in the quanta after it.
	left int64
}

// set changes the limit, given per second.
func (b *bucket) set(perSecond uint64) {
	b.perQuantum = int64(min(perSecond/quantaPerSecond, math.MaxInt32)) // more than 2^31 a millisecond is no limit
	b.left = b.perQuantum
}

// open says whether a request may take from the bucket.
func (b *bucket) open() bool { return b.perQuantum == 0 || b.left > 0 }

func (b *bucket) take(n int64) {
	if b.perQuantum != 0 {
		b.left -= n
	}
}

// refill adds n quanta. What was left over is lost, what was overdrawn is paid back. Without requests
// that waited all the while nothing is saved up beyond one quantum.
func (b *bucket) refill(n int64, waited bool) {
	const most = math.MaxInt64 / 2
	b.left = min(b.left, 0)
	if b.perQuantum > 0 && n > (most-b.left)/b.perQuantum {
		n = (most - b.left) / b.perQuantum
	}
	b.left += n * b.perQuantum
	if !waited {
		b.left = min(b.left, b.perQuantum)
	}
}
