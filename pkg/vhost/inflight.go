// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The memory in which requests in flight are marked, version 1, for split rings. Per queue:
//
//	 0  features u64
//	 8  version u16, descriptors u16, last batch's head u16, used index u16
//	16  per descriptor: in flight u8, padding, next of the batch u16 at 6, counter u64 at 8
//
// rounded up to 64 bytes. Each word of 64 bits is written at once, so a crash leaves no half of it.
const (
	inflightVersion   = 1
	inflightHeadBytes = 16
	inflightDescBytes = 16
	inflightAlign     = 64
)

// inflightSpec is what front end and back end tell each other about that memory.
type inflightSpec struct {
	size, offset     uint64
	queues, ringSize uint16
}

// perQueue returns the bytes that a queue takes.
func (s *inflightSpec) perQueue() uint64 {
	n := inflightHeadBytes + inflightDescBytes*uint64(s.ringSize)
	return (n + inflightAlign - 1) / inflightAlign * inflightAlign
}

// inflightBytes is the length of the description in a message.
const inflightBytes = 20

// inflight reads the description and checks its counts.
func (m *message) inflight() (inflightSpec, error) {
	if err := m.want(inflightBytes); err != nil {
		return inflightSpec{}, err
	}
	s := inflightSpec{
		size: m.u64(0), offset: m.u64(8),
		queues: binary.LittleEndian.Uint16(m.payload[16:]), ringSize: binary.LittleEndian.Uint16(m.payload[18:]),
	}
	if s.queues == 0 || s.queues > maxQueues || s.ringSize == 0 || s.ringSize > maxQueueSize {
		return s, fmt.Errorf("inflight memory for %d queues of %d descriptors", s.queues, s.ringSize)
	}
	return s, nil
}

// newInflight makes that memory. The descriptor is the caller's.
func newInflight(s *inflightSpec) (int, error) {
	fd, err := unix.MemfdCreate("vhost-inflight", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, fmt.Errorf("make inflight memory: %w", err)
	}
	s.size, s.offset = s.perQueue()*uint64(s.queues), 0
	if err = unix.Ftruncate(fd, int64(s.size)); err == nil { //nolint:gosec // at most 256 times 512 KiB
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW)
	}
	if err != nil {
		closeFD(fd)
		return -1, fmt.Errorf("make inflight memory of %d bytes: %w", s.size, err)
	}
	return fd, nil
}

// inflight is that memory, mapped.
type inflight struct {
	inflightSpec
	*mapping
}

// openInflight maps what the front end sends, and closes the descriptor.
func openInflight(fd int, s inflightSpec) (*inflight, error) {
	if need := s.perQueue() * uint64(s.queues); s.size < need {
		closeFD(fd)
		return nil, fmt.Errorf("inflight memory has %d bytes and needs %d", s.size, need)
	}
	m, err := mapFile(fd, s.offset, s.size)
	if err == nil && uintptr(unsafe.Pointer(&m.data[0]))%8 != 0 { //nolint:gosec // only its low bits are looked at
		_ = m.unmap()
		err = fmt.Errorf("inflight memory begins at %d, which is not a multiple of 8", s.offset)
	}
	if err != nil {
		return nil, fmt.Errorf("inflight memory: %w", err)
	}
	return &inflight{inflightSpec: s, mapping: m}, nil
}

// track marks the requests of one queue.
type track struct {
	words []byte
	// counter numbers requests in the order in which they were taken.
	counter uint64
	// last is the head that was answered last; chains of a batch go backwards from it.
	last uint16
	size uint16
}

// queue returns the marks of a queue, or an error if there is no room for it.
func (f *inflight) queue(index int, size uint16) (*track, error) {
	if index >= int(f.queues) || size > f.ringSize {
		return nil, fmt.Errorf("inflight memory for %d queues of %d descriptors has no room for queue %d with %d", f.queues, f.ringSize, index, size)
	}
	n := f.perQueue()
	return &track{words: f.data[n*uint64(index):][:n], size: size}, nil //nolint:gosec // not negative
}

func (t *track) word(at int) *uint64 {
	return (*uint64)(unsafe.Pointer(&t.words[at])) //nolint:gosec // shared memory, aligned to 8
}

func (t *track) state(head uint16) *uint64 {
	return t.word(inflightHeadBytes + inflightDescBytes*int(head))
}

// header is the second word: version, descriptors, last batch's head, used index.
func (t *track) header(usedIdx uint16) uint64 {
	return inflightVersion | uint64(t.size)<<16 | uint64(t.last)<<32 | uint64(usedIdx)<<48
}

// take marks a request before it is run.
func (t *track) take(head uint16) {
	state := t.state(head)
	atomic.StoreUint64((*uint64)(unsafe.Add(unsafe.Pointer(state), 8)), t.counter) //nolint:gosec // the counter beside it
	t.counter++
	atomic.StoreUint64(state, 1)
}

// answering chains the requests of a batch, and says which one is its last, before the used index of
// the ring moves from usedIdx.
func (t *track) answering(batch []answer, usedIdx uint16) {
	for i := range batch {
		atomic.StoreUint64(t.state(batch[i].head), 1|uint64(t.last)<<48)
		t.last = batch[i].head
	}
	atomic.StoreUint64(t.word(8), t.header(usedIdx))
}

// answered clears the marks of a batch, after the used index of the ring has moved to usedIdx.
func (t *track) answered(batch []answer, usedIdx uint16) {
	for i := range batch {
		state := t.state(batch[i].head)
		atomic.StoreUint64(state, atomic.LoadUint64(state)&^0xff)
	}
	atomic.StoreUint64(t.word(8), t.header(usedIdx))
}

// recover returns the heads that have not been answered, in the order in which they were taken, and
// makes the memory ready for use. usedIdx is that of the ring.
func (t *track) recover(usedIdx uint16) ([]uint16, error) {
	header := atomic.LoadUint64(t.word(8))
	switch version := uint16(header); version { //nolint:gosec // the lowest quarter
	case 0: // fresh memory: nothing is marked
		clear(t.words)
	case inflightVersion:
	default:
		return nil, fmt.Errorf("inflight memory is of version %d, not %d", version, inflightVersion)
	}
	t.last = uint16(header >> 32)
	behind := usedIdx - uint16(header>>48)
	if header != 0 && behind <= t.size {
		// If the ring is ahead, its index was published and the marks were not cleared any more.
		for head, n := t.last, behind; n > 0; n-- {
			if head >= t.size {
				return nil, fmt.Errorf("inflight memory leads to descriptor %d of %d", head, t.size)
			}
			state := t.state(head)
			head = uint16(atomic.LoadUint64(state) >> 48)
			atomic.StoreUint64(state, 0)
		}
	}
	type mark struct {
		head    uint16
		counter uint64
	}
	var marks []mark
	for head := range t.size {
		state := t.state(head)
		if byte(atomic.LoadUint64(state)) == 1 { //nolint:gosec // the lowest byte
			marks = append(marks, mark{head, atomic.LoadUint64((*uint64)(unsafe.Add(unsafe.Pointer(state), 8)))}) //nolint:gosec // the counter beside it
		}
	}
	if header != 0 && behind > t.size && len(marks) > 0 { // without marks it is a ring that began anew
		return nil, fmt.Errorf("inflight memory with %d requests is %d answers behind a ring of %d", len(marks), behind, t.size)
	}
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Compare(a.counter, b.counter) })
	heads := make([]uint16, len(marks))
	t.counter = 0
	for i, m := range marks {
		heads[i] = m.head
		t.counter = max(t.counter, m.counter+1)
	}
	if t.last >= t.size {
		t.last = 0
	}
	atomic.StoreUint64(t.word(8), t.header(usedIdx))
	return heads, nil
}
