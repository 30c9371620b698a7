// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	// aioWorkers is the number of requests of one aio bdev that wait for the disk at the same time.
	// It is a queue depth at which disks give what they have; each costs a thread while it waits.
	aioWorkers = 16
	// aioInline is the size in bytes up to which a read is tried on the submitter's goroutine: it must
	// not copy for long.
	aioInline = 128 << 10
	// aioScratch is the size in bytes of the pieces in which zeroes are written and data is compared.
	aioScratch = 64 << 10
)

// Submit implements [Device].
func (a *AIO) Submit(r *Request) {
	if r.Op == OpRead && len(r.Data) <= aioInline && a.readCached(r) {
		r.Complete(nil)
		return
	}
	a.mu.Lock()
	r.next = nil
	if a.tail == nil {
		a.head = r
	} else {
		a.tail.next = r
	}
	a.tail = r
	start := a.running < aioWorkers
	if start {
		a.running++
		a.workers.Add(1)
	}
	a.mu.Unlock()
	if start {
		go a.worker()
	}
}

// readCached reads what needs no waiting. It says whether all of it was there.
func (a *AIO) readCached(r *Request) bool {
	if len(r.Data) == 0 || a.noNowait.Load() {
		return false
	}
	n, err := unix.Preadv2(a.fd, [][]byte{r.Data}, a.offset(r.Block), unix.RWF_NOWAIT)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		a.noNowait.Store(true)
	}
	return err == nil && n == len(r.Data)
}

// work carries out requests until there are none.
//
// Requests begin in the order in which they came, and one whose range another is writing waits. The
// contract asks for neither, but a write of a connection that broke may lie here while its host
// already repeats it and goes on: the old copy must not land on what came later.
func (a *AIO) work() {
	defer a.workers.Done()
	a.mu.Lock()
	for a.head != nil {
		if a.conflicts(a.head) {
			a.freed.Wait()
			continue
		}
		r := a.head
		a.head = r.next
		if a.head == nil {
			a.tail = nil
		}
		r.next = nil
		slot := slices.Index(a.atWork[:], nil)
		a.atWork[slot] = r
		a.mu.Unlock()
		err := a.do(r)
		a.mu.Lock()
		a.atWork[slot] = nil
		a.freed.Broadcast()
		a.mu.Unlock()
		r.Complete(err)
		a.mu.Lock()
	}
	a.running--
	a.mu.Unlock()
}

// conflicts says whether a request has to wait for one that is at work; the caller holds mu.
func (a *AIO) conflicts(r *Request) bool {
	if r.Op == OpFlush {
		return false
	}
	for _, q := range a.atWork {
		if q != nil && q.Op != OpFlush && (r.changes() || q.changes()) &&
			(q.Block-r.Block < r.Count || r.Block-q.Block < q.Count) { // one begins within the other
			return true
		}
	}
	return false
}

// do carries out one request.
func (a *AIO) do(r *Request) error {
	if a.options.ReadOnly && (r.Op == OpWrite || r.Op == OpWriteZeroes || r.Op == OpUnmap) {
		return ErrReadOnly
	}
	switch r.Op {
	case OpRead:
		return a.readAt(r.Data, a.offset(r.Block))
	case OpWrite:
		return a.writeAt(r.Data, a.offset(r.Block))
	case OpCompare:
		return a.compare(r.Data, a.offset(r.Block))
	case OpWriteZeroes:
		return a.zero(a.offset(r.Block), a.offset(r.Count))
	case OpUnmap:
		return a.unmap(a.offset(r.Block), a.offset(r.Count))
	case OpFlush:
		return a.flush()
	default:
		return ErrOp
	}
}

// offset is a number of blocks in bytes. It fits, because the file has them.
func (a *AIO) offset(blocks uint64) int64 {
	return int64(blocks * uint64(a.block)) //nolint:gosec // see above
}

func (a *AIO) readAt(p []byte, off int64) error {
	if _, err := a.file.ReadAt(p, off); err != nil {
		if errors.Is(err, io.EOF) { // somebody cut the file
			return fmt.Errorf("read %d bytes at %d of %s: %w", len(p), off, a.options.Filename, io.ErrUnexpectedEOF)
		}
		return fmt.Errorf("aio bdev %q: %w", a.options.Name, err)
	}
	return nil
}

func (a *AIO) writeAt(p []byte, off int64) error {
	if _, err := a.file.WriteAt(p, off); err != nil {
		return fmt.Errorf("aio bdev %q: %w", a.options.Name, err)
	}
	return nil
}

func (a *AIO) compare(p []byte, off int64) error {
	scratch := make([]byte, min(len(p), aioScratch))
	for len(p) > 0 {
		n := min(len(p), len(scratch))
		if err := a.readAt(scratch[:n], off); err != nil {
			return err
		}
		if !bytes.Equal(scratch[:n], p[:n]) {
			return ErrCompare
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// zero makes the range read as zeroes, by the file system if it can, otherwise by writing.
func (a *AIO) zero(off, length int64) error {
	if length == 0 {
		return nil
	}
	for _, mode := range []uint32{
		unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE,
		unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
	} {
		if retryInterrupted(func() error { return unix.Fallocate(a.fd, mode, off, length) }) == nil {
			return nil
		}
	}
	zeroes := make([]byte, min(length, aioScratch))
	for end := off + length; off < end; off += int64(len(zeroes)) {
		if err := a.writeAt(zeroes[:min(end-off, int64(len(zeroes)))], off); err != nil {
			return err
		}
	}
	return nil
}

// unmap gives the range back to the file system, if it was told to; to leave the content as it is
// would be as good.
func (a *AIO) unmap(off, length int64) error {
	if !a.options.Fallocate || length == 0 {
		return nil
	}
	err := retryInterrupted(func() error {
		return unix.Fallocate(a.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
	})
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("punch a hole of %d bytes at %d into %s: %w", length, off, a.options.Filename, err)
	}
	return nil
}

func (a *AIO) flush() error {
	if err := retryInterrupted(func() error { return unix.Fdatasync(a.fd) }); err != nil {
		return fmt.Errorf("make what was written to %s durable: %w", a.options.Filename, err)
	}
	return nil
}

// retryInterrupted repeats a system call that a signal interrupted.
func retryInterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
