// SPDX-License-Identifier: Apache-2.0

package nvme

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// codec carries fields between a struct and bytes, in the direction that decoding says. A struct
// lists its fields once, with their offsets, and so cannot decode one thing and encode another.
// The length of b has been checked before the first field.
type codec struct {
	b        []byte
	decoding bool
}

type fields interface{ visit(c *codec) }

func encode(f fields, b []byte, size int) {
	clear(b[:size])
	f.visit(&codec{b: b[:size]})
}

func decode(f fields, b []byte, size int, what string) error {
	if len(b) < size {
		return fmt.Errorf("%s is %d bytes, need %d: %w", what, len(b), size, ErrShort)
	}
	f.visit(&codec{b: b[:size], decoding: true})
	return nil
}

func (c *codec) u8(at int, v *uint8) {
	if c.decoding {
		*v = c.b[at]
		return
	}
	c.b[at] = *v
}

func (c *codec) u16(at int, v *uint16) {
	if c.decoding {
		*v = binary.LittleEndian.Uint16(c.b[at:])
		return
	}
	binary.LittleEndian.PutUint16(c.b[at:], *v)
}

func (c *codec) u32(at int, v *uint32) {
	if c.decoding {
		*v = binary.LittleEndian.Uint32(c.b[at:])
		return
	}
	binary.LittleEndian.PutUint32(c.b[at:], *v)
}

func (c *codec) u64(at int, v *uint64) {
	if c.decoding {
		*v = binary.LittleEndian.Uint64(c.b[at:])
		return
	}
	binary.LittleEndian.PutUint64(c.b[at:], *v)
}

func (c *codec) bytes(at int, v []byte) {
	if c.decoding {
		copy(v, c.b[at:])
		return
	}
	copy(c.b[at:], v)
}

// str carries a string of at most size bytes that is padded: with zeroes it also ends at the first
// one. A string that is too long is cut.
func (c *codec) str(at, size int, pad byte, v *string) {
	field := c.b[at : at+size]
	if !c.decoding {
		n := copy(field, *v)
		for i := n; i < size; i++ {
			field[i] = pad
		}
		return
	}
	if i := bytes.IndexByte(field, 0); i >= 0 {
		field = field[:i]
	}
	*v = strings.TrimRight(string(field), string(rune(pad)))
}
