// SPDX-License-Identifier: Apache-2.0

package tlspsk

import "encoding/binary"

// parser takes fields off the front of a message. After a failure it yields zeros and stays failed, so
// that a message is checked once, at its end.
type parser struct {
	b      []byte
	failed bool
}

func (p *parser) take(n int) []byte {
	if n > len(p.b) || p.failed {
		p.failed, p.b = true, nil
		return nil
	}
	out := p.b[:n]
	p.b = p.b[n:]
	return out
}

func (p *parser) u8() int {
	if b := p.take(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (p *parser) u16() int {
	if b := p.take(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

// vector8 is a field with its length in one byte before it, vector16 in two. They have least bytes or
// more.
func (p *parser) vector8(least int) []byte  { return p.vector(p.u8(), least) }
func (p *parser) vector16(least int) []byte { return p.vector(p.u16(), least) }

func (p *parser) vector(n, least int) []byte {
	if n < least {
		p.failed, p.b = true, nil
	}
	return p.take(n)
}

// list16 is a vector16 of numbers of two bytes, at least one.
func (p *parser) list16() []int { return numbers(p, p.vector16(2)) }

func numbers(p *parser, b []byte) []int {
	if len(b)%2 != 0 {
		p.failed, p.b = true, nil
		return nil
	}
	out := make([]int, 0, len(b)/2)
	for ; len(b) > 0; b = b[2:] {
		out = append(out, int(binary.BigEndian.Uint16(b)))
	}
	return out
}

// done says whether all was well and nothing is left.
func (p *parser) done() bool { return !p.failed && len(p.b) == 0 }

// builder appends fields to a message.
type builder struct{ b []byte }

func (w *builder) u8(v int) { w.b = append(w.b, byte(v)) } //nolint:gosec // our own numbers fit

func (w *builder) u16(v int) { w.b = binary.BigEndian.AppendUint16(w.b, uint16(v)) } //nolint:gosec // our own numbers fit

func (w *builder) raw(b []byte) { w.b = append(w.b, b...) }

// vector appends what fill appends, after its length in that many bytes.
func (w *builder) vector(lengthBytes int, fill func()) {
	start := len(w.b)
	w.b = append(w.b, make([]byte, lengthBytes)...)
	fill()
	n := len(w.b) - start - lengthBytes
	for i := range lengthBytes {
		w.b[start+i] = byte(n >> (8 * (lengthBytes - 1 - i))) //nolint:gosec // one byte of the number
	}
}

func (w *builder) vector8(b []byte)  { w.vector(1, func() { w.raw(b) }) }
func (w *builder) vector16(b []byte) { w.vector(2, func() { w.raw(b) }) }

// message returns a handshake message of that type, built by fill.
func message(t messageType, fill func(w *builder)) []byte {
	w := &builder{}
	w.u8(int(t))
	w.vector(3, func() { fill(w) })
	return w.b
}

// extension appends one.
func (w *builder) extension(t extensionType, fill func()) {
	w.u16(int(t))
	w.vector(2, fill)
}
