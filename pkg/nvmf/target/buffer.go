// SPDX-License-Identifier: Apache-2.0

package target

import (
	"math/bits"
	"sync"
)

// Sizes of pooled buffers are powers of two from 4 KiB to 4 MiB, the largest MaxIOSizeBytes.
const (
	minBufferShift = 12
	bufferClasses  = 11
)

// bufferPool lends buffers for data that cannot stay where it is. How many are out is bounded by the
// depth of the queues.
type bufferPool struct {
	classes [bufferClasses]sync.Pool
}

// buffer is lent memory. b has the length that was asked for.
type buffer struct {
	b     []byte
	class int
}

// get lends a buffer of n bytes, at most 4 MiB.
func (p *bufferPool) get(n uint32) *buffer {
	class := max(bits.Len32(n-1), minBufferShift) - minBufferShift
	if n == 0 {
		class = 0
	}
	b, ok := p.classes[class].Get().(*buffer)
	if !ok {
		b = &buffer{b: make([]byte, 1<<(class+minBufferShift)), class: class}
	}
	b.b = b.b[:n]
	return b
}

// put takes a buffer back; nil is nothing.
func (p *bufferPool) put(b *buffer) {
	if b != nil {
		p.classes[b.class].Put(b)
	}
}
