// SPDX-License-Identifier: Apache-2.0

package vhost

import "fmt"

// segments are pieces of guest memory, in the order in which they are used.
type segments struct {
	list [][]byte
	// first is the index of the first piece that has not been skipped.
	first int
	// unstable says that a piece lies in memory which may vanish.
	unstable bool
}

// add appends n bytes at a guest address: one piece, or as many as there are regions in the way. A
// piece that continues the one before is joined to it.
func (s *segments) add(t *table, addr, n uint64) error {
	for n > 0 {
		r := t.at(addr)
		if r == nil {
			return fmt.Errorf("%d bytes at guest address %#x are not in the memory table", n, addr)
		}
		at := addr - r.guest
		size := min(n, r.size-at)
		s.push(r.data[at : at+size])
		s.unstable = s.unstable || !r.stable
		addr += size
		n -= size
	}
	return nil
}

// push appends a piece.
func (s *segments) push(b []byte) {
	if last := len(s.list) - 1; last >= 0 {
		before := s.list[last]
		if n := len(before); cap(before) > n && &before[:n+1][n] == &b[0] {
			s.list[last] = before[: n+len(b) : cap(before)]
			return
		}
	}
	s.list = append(s.list, b)
}

func (s *segments) reset() {
	clear(s.list)
	s.list, s.first, s.unstable = s.list[:0], 0, false
}

// size returns the number of bytes in the pieces.
func (s *segments) size() uint64 {
	var n uint64
	for _, b := range s.list[s.first:] {
		n += uint64(len(b))
	}
	return n
}

// gather copies from the front of the pieces and returns how much there was.
func (s *segments) gather(dst []byte) int {
	n := 0
	for _, b := range s.list[s.first:] {
		if n == len(dst) {
			break
		}
		n += copy(dst[n:], b)
	}
	return n
}

// scatter copies to the front of the pieces.
func (s *segments) scatter(src []byte) {
	for _, b := range s.list[s.first:] {
		if len(src) == 0 {
			return
		}
		src = src[copy(b, src):]
	}
}

// skip removes n bytes from the front.
func (s *segments) skip(n int) {
	for n > 0 && s.first < len(s.list) {
		piece := s.list[s.first]
		if n < len(piece) {
			s.list[s.first] = piece[n:]
			return
		}
		n -= len(piece)
		s.first++
	}
}

// front returns the first piece. There is one.
func (s *segments) front() []byte { return s.list[s.first] }

// cutLast takes the last byte away and returns it.
func (s *segments) cutLast() *byte {
	last := len(s.list) - 1
	piece := s.list[last]
	n := len(piece) - 1
	s.list[last] = piece[:n]
	if n == 0 {
		s.list = s.list[:last]
	}
	return &piece[n]
}
