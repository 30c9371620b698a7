// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import "sync"

// batch collects the answers to the calls of one array and delivers them as one array, in the order
// of completion, when the last is there. If all were silent there is nothing to deliver.
type batch struct {
	sink sink

	mu   sync.Mutex
	left int    // calls without an answer; guarded by mu
	out  []byte // guarded by mu
}

// deliver takes the answer of one of the calls.
func (b *batch) deliver(answer []byte) {
	b.mu.Lock()
	if len(answer) > 0 {
		if len(b.out) == 0 {
			b.out = append(b.out, '[')
		} else {
			b.out = append(b.out, ',')
		}
		b.out = append(b.out, answer...)
	}
	b.left--
	last := b.left == 0
	if last && len(b.out) > 0 {
		b.out = append(b.out, ']')
	}
	b.mu.Unlock()
	if last {
		b.sink.deliver(b.out)
	}
}
