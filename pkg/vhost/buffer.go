// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Buffers come in powers of two between these.
const (
	minBufferShift = 12
	maxBufferShift = 19
)

// maxBuffered is how many bytes of buffers the requests of one controller use before a queue which
// uses some has to wait for its requests to end. A queue that uses none may always take one more.
const maxBuffered = 64 << 20

// buffer is memory of ours that stands in for the guest's.
type buffer struct {
	bytes []byte
}

// buffers are those of a controller which nobody uses.
type buffers struct {
	// taken is the number of bytes in use.
	taken atomic.Int64
	pools [maxBufferShift - minBufferShift + 1]sync.Pool
}

// get returns a buffer of at least n bytes, at most chunkBytes. Its content is arbitrary.
func (b *buffers) get(n int) *buffer {
	class := max(bits.Len(uint(n-1)), minBufferShift) - minBufferShift
	b.taken.Add(1 << (class + minBufferShift))
	if f, ok := b.pools[class].Get().(*buffer); ok {
		return f
	}
	return &buffer{bytes: make([]byte, 1<<(class+minBufferShift))}
}

func (b *buffers) put(f *buffer) {
	b.taken.Add(int64(-len(f.bytes)))
	class := bits.Len(uint(len(f.bytes)-1)) - minBufferShift
	b.pools[class].Put(f)
}
