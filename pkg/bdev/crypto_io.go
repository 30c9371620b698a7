// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"bytes"
	"fmt"
)

const (
	// cryptoInline is the size in bytes up to which a request is encrypted or decrypted on the
	// goroutine that brings it. It takes about 20 microseconds there.
	cryptoInline = 16 << 10
	// cryptoChunk is the size in bytes of the pieces in which larger requests are encrypted.
	cryptoChunk = 128 << 10
)

// cryptoIO is a request that is being carried out. At any time one goroutine has it.
type cryptoIO struct {
	dev      *Crypto
	original *Request
	stand    Request // what the base is asked for
	done     uint64  // the blocks of original that are done
	filled   bool    // a compare has read the blocks that follow those done
	next     *cryptoIO
	scratch  xtsScratch
	buf      []byte // encrypted blocks; nil if the request needs none
}

// Submit implements [Device].
func (c *Crypto) Submit(r *Request) {
	switch r.Op {
	case OpRead:
		io := c.take(r, 0)
		io.stand = Request{Op: OpRead, Block: r.Block, Count: r.Count, Data: r.Data, Context: io, Done: cryptoRead}
		c.base.Submit(&io.stand)
	case OpWrite, OpWriteZeroes, OpCompare:
		if r.Count > cryptoInline/uint64(c.block) {
			c.crew.put(c.take(r, int(c.chunk)*int(c.block))) //nolint:gosec // at most cryptoChunk, or one block
			return
		}
		c.take(r, cryptoInline).work()
	case OpFlush, OpUnmap:
		c.base.Submit(r)
	default:
		r.Complete(ErrOp)
	}
}

// take returns a cryptoIO with a buffer of the size.
func (c *Crypto) take(r *Request, size int) *cryptoIO {
	pool := &c.passing
	switch {
	case size > cryptoInline:
		pool = &c.large
	case size > 0:
		pool = &c.small
	}
	io, ok := pool.Get().(*cryptoIO)
	if !ok {
		io = &cryptoIO{dev: c, buf: make([]byte, size)}
	}
	io.original, io.done, io.filled = r, 0, false
	return io
}

// finish ends the request.
func (io *cryptoIO) finish(err error) {
	c, r := io.dev, io.original
	io.original, io.stand = nil, Request{}
	switch {
	case len(io.buf) > cryptoInline:
		c.large.Put(io)
	case len(io.buf) > 0:
		c.small.Put(io)
	default:
		c.passing.Put(io)
	}
	if err != nil {
		err = fmt.Errorf("crypto bdev %q: %w", c.options.Name, err)
	}
	r.Complete(err)
}

// inline says whether the rest of the work is small enough for any goroutine.
func (io *cryptoIO) inline() bool {
	return io.original.Count <= cryptoInline/uint64(io.dev.block)
}

// goOn continues, here or with a worker.
func (io *cryptoIO) goOn() {
	if io.inline() {
		io.work()
		return
	}
	io.dev.crew.put(io)
}

// work does what is next.
func (io *cryptoIO) work() {
	r := io.original
	switch {
	case r.Op == OpRead:
		io.decrypt(r.Data, r.Block)
		io.finish(nil)
		return
	case io.filled:
		part := io.part()
		io.decrypt(part, r.Block+io.done)
		if !bytes.Equal(part, io.data()) {
			io.finish(ErrCompare)
			return
		}
		io.filled = false
		io.done += io.count()
		if io.done == r.Count {
			io.finish(nil)
			return
		}
	}
	part := io.part()
	io.stand = Request{Op: OpWrite, Block: r.Block + io.done, Count: io.count(), Data: part, Context: io, Done: cryptoStepped}
	switch r.Op {
	case OpWrite:
		io.encrypt(part, io.data(), r.Block+io.done)
	case OpWriteZeroes:
		clear(part)
		io.encrypt(part, part, r.Block+io.done)
	default:
		io.stand.Op = OpRead
	}
	io.dev.base.Submit(&io.stand)
}

// count returns how many blocks are worked on at once.
func (io *cryptoIO) count() uint64 { return min(io.original.Count-io.done, io.dev.chunk) }

// part returns the buffer of the blocks that are worked on.
func (io *cryptoIO) part() []byte { return io.buf[:io.count()*uint64(io.dev.block)] }

// data returns what the submitter has for them.
func (io *cryptoIO) data() []byte {
	size := uint64(io.dev.block)
	return io.original.Data[io.done*size : (io.done+io.count())*size]
}

// cryptoRead is called when the base has read all blocks of a read into the submitter's memory.
func cryptoRead(stand *Request, err error) {
	io := stand.Context.(*cryptoIO) //nolint:errcheck // put there by Submit, so it cannot fail
	if err != nil {
		io.finish(err)
		return
	}
	io.goOn()
}

// cryptoStepped is called when the base has written or read a part.
func cryptoStepped(stand *Request, err error) {
	io := stand.Context.(*cryptoIO) //nolint:errcheck // put there by work, so it cannot fail
	if err != nil {
		io.finish(err)
		return
	}
	if io.original.Op == OpCompare {
		io.filled = true
		io.goOn()
		return
	}
	io.done += stand.Count
	if io.done == io.original.Count {
		io.finish(nil)
		return
	}
	io.goOn()
}

// encrypt encrypts whole blocks, of which the first has the number.
func (io *cryptoIO) encrypt(dst, src []byte, block uint64) {
	size := int(io.dev.block)
	for i := 0; i < len(src); i += size {
		io.dev.options.Key.encrypt(&io.scratch, dst[i:i+size], src[i:i+size], block)
		block++
	}
}

// decrypt decrypts whole blocks in place.
func (io *cryptoIO) decrypt(b []byte, block uint64) {
	size := int(io.dev.block)
	for i := 0; i < len(b); i += size {
		io.dev.options.Key.decrypt(&io.scratch, b[i:i+size], b[i:i+size], block)
		block++
	}
}
