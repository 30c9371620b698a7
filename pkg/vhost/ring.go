// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Flags of descriptors and rings.
const (
	descNext     = 1
	descWrite    = 2
	descIndirect = 4

	descBytes = 16

	availNoInterrupt = 1
	usedNoNotify     = 1
)

// ring is a split virtqueue in guest memory. Its two ends write different parts of it at the same
// time, so indices are read and written atomically, as halves of words of 32 bits.
type ring struct {
	size uint16
	desc []byte
	// avail belongs to the driver: flags, index, heads, and the index at which it wants an interrupt.
	avail []byte
	// used is ours: flags, index, elements, and the index at which we want a kick.
	used      []byte
	availIdx  half
	usedHead  *uint32
	usedEvent half
	// barrier is added to where a store must be visible before a load.
	barrier atomic.Uint32
}

// half is a number of 16 bits within a word that can be read at once.
type half struct {
	word  *uint32
	shift uint8
}

// halfOf finds the word around two bytes at an even address. Memory is mapped in pages, so the word
// is mapped if the bytes are.
func halfOf(b []byte) half {
	p := unsafe.Pointer(&b[0]) //nolint:gosec // guest memory is shared, not Go's
	if uintptr(p)&2 != 0 {
		return half{word: (*uint32)(unsafe.Add(p, -2)), shift: 16}
	}
	return half{word: (*uint32)(p)}
}

func (h half) load() uint16 { return uint16(atomic.LoadUint32(h.word) >> h.shift) } //nolint:gosec // the half is what is wanted

// ringAddrs are the addresses of the parts of a ring in the front end.
type ringAddrs struct {
	desc, used, avail uint64
}

// newRing finds a ring in memory.
func newRing(t *table, a ringAddrs, size uint16) (*ring, error) {
	n := uint64(size)
	r := &ring{size: size}
	var err error
	if r.desc, err = t.user(a.desc, descBytes*n); err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	if r.avail, err = t.user(a.avail, 6+2*n); err != nil {
		return nil, fmt.Errorf("available ring: %w", err)
	}
	if r.used, err = t.user(a.used, 6+8*n); err != nil {
		return nil, fmt.Errorf("used ring: %w", err)
	}
	for _, part := range []struct {
		name  string
		bytes []byte
		align uintptr
	}{{"descriptors", r.desc, 16}, {"available ring", r.avail, 2}, {"used ring", r.used, 4}} {
		if at := uintptr(unsafe.Pointer(&part.bytes[0])); at%part.align != 0 { //nolint:gosec // only its low bits are looked at
			return nil, fmt.Errorf("%s: the address is not a multiple of %d", part.name, part.align)
		}
	}
	r.availIdx = halfOf(r.avail[2:])
	r.usedEvent = halfOf(r.avail[4+2*n:])
	r.usedHead = (*uint32)(unsafe.Pointer(&r.used[0])) //nolint:gosec // guest memory is shared, not Go's
	return r, nil
}

// head returns the descriptor that the driver made available at an index.
func (r *ring) head(idx uint16) uint16 {
	return binary.LittleEndian.Uint16(r.avail[4+2*int(idx&(r.size-1)):])
}

// availFlags returns what the driver wants.
func (r *ring) availFlags() uint16 { return binary.LittleEndian.Uint16(r.avail) }

// usedIdx returns the index that was published last, perhaps by a process before this one.
func (r *ring) usedIdx() uint16 { return uint16(atomic.LoadUint32(r.usedHead) >> 16) }

// setUsed writes an element. It is seen once publish has been called with an index beyond it.
func (r *ring) setUsed(idx, head uint16, written uint32) {
	at := 4 + 8*int(idx&(r.size-1))
	binary.LittleEndian.PutUint32(r.used[at:], uint32(head))
	binary.LittleEndian.PutUint32(r.used[at+4:], written)
}

// publish makes elements before the index visible to the driver.
func (r *ring) publish(idx, flags uint16) {
	atomic.StoreUint32(r.usedHead, uint32(idx)<<16|uint32(flags))
}

// setAvailEvent asks for a kick when the driver's index passes idx.
func (r *ring) setAvailEvent(idx uint16) {
	binary.LittleEndian.PutUint16(r.used[4+8*int(r.size):], idx)
}

// fence makes stores visible before loads that follow.
func (r *ring) fence() { r.barrier.Add(1) }

// descriptor is a copy of a descriptor: the driver may change the original at any time.
type descriptor struct {
	addr        uint64
	len         uint32
	flags, next uint16
}

// descriptorAt copies a descriptor out of a table.
func descriptorAt(t []byte, index uint16) descriptor {
	b := t[descBytes*int(index):][:descBytes]
	return descriptor{
		addr:  binary.LittleEndian.Uint64(b),
		len:   binary.LittleEndian.Uint32(b[8:]),
		flags: binary.LittleEndian.Uint16(b[12:]),
		next:  binary.LittleEndian.Uint16(b[14:]),
	}
}

// needEvent says whether an index that moves from before to now passes event (virtio 1.2, 2.7.10).
func needEvent(event, now, before uint16) bool {
	return now-event-1 < now-before
}
