// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import "unicode/utf8"

// literal takes true, false or null.
func (s *scanner) literal(buf []byte) (ok, more bool) {
	var word string
	switch buf[s.pos] {
	case 't':
		word = "true"
	case 'f':
		word = "false"
	case 'n':
		word = "null"
	default:
		return false, false
	}
	have := buf[s.pos:min(len(buf), s.pos+len(word))]
	if string(have) != word[:len(have)] {
		return false, false
	}
	if len(have) < len(word) {
		return true, true
	}
	s.pos += len(word)
	s.values++
	s.endValue()
	return true, false
}

// text takes bytes of a string up to its end or to the end of buf.
func (s *scanner) text(buf []byte) (ok, more bool) {
	for s.pos < len(buf) {
		switch c := buf[s.pos]; {
		case c == '"':
			s.pos++
			s.quoted = false
			if s.want == wantName {
				s.want = wantColon
				s.comma = false
			} else {
				s.endValue()
			}
			return true, false
		case c == '\\':
			n, ok := escape(buf[s.pos:])
			if !ok || n == 0 {
				return ok, true
			}
			s.pos += n
		case c < 0x20:
			return false, false
		case c < utf8.RuneSelf:
			s.pos++
		default:
			r, n := utf8.DecodeRune(buf[s.pos:])
			if r == utf8.RuneError && n <= 1 {
				return !utf8.FullRune(buf[s.pos:]), true
			}
			s.pos += n
		}
	}
	return true, true
}

// escape returns the length of the escape sequence at the start of b: 0 if more bytes are needed,
// not ok if it is none. A high surrogate needs its low one.
func escape(b []byte) (n int, ok bool) {
	if len(b) < 2 {
		return 0, true
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, true
	case 'u':
	default:
		return 0, false
	}
	unit, n, ok := hex4(b[2:])
	if !ok || n == 0 {
		return 0, ok
	}
	if unit < 0xd800 || unit > 0xdfff {
		return 6, true
	}
	if unit >= 0xdc00 {
		return 0, false
	}
	for i, want := range []byte(`\u`) {
		if len(b) <= 6+i {
			return 0, true
		}
		if b[6+i] != want {
			return 0, false
		}
	}
	unit, n, ok = hex4(b[8:])
	if !ok || n == 0 {
		return 0, ok
	}
	return 12, unit >= 0xdc00 && unit <= 0xdfff
}

// hex4 reads four hexadecimal digits; n is 0 if more bytes are needed.
func hex4(b []byte) (unit uint32, n int, ok bool) {
	for i := range 4 {
		if i >= len(b) {
			return 0, 0, true
		}
		switch c := b[i]; {
		case c >= '0' && c <= '9':
			unit = unit<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			unit = unit<<4 | uint32(c-'a'+10)
		case c >= 'A' && c <= 'F':
			unit = unit<<4 | uint32(c-'A'+10)
		default:
			return 0, 0, false
		}
	}
	return unit, 4, true
}

// digit takes one byte of a number, or ends the number before it.
func (s *scanner) digit(c byte) bool {
	digit := c >= '0' && c <= '9'
	next := noNumber
	switch s.number {
	case numberMinus:
		if c == '0' {
			next = numberZero
		} else if digit {
			next = numberInteger
		}
	case numberInteger:
		if digit {
			next = numberInteger
			break
		}
		fallthrough
	case numberZero:
		if c == '.' {
			next = numberPoint
		} else if c|0x20 == 'e' {
			next = numberE
		}
	case numberPoint:
		if digit {
			next = numberFraction
		}
	case numberFraction:
		if digit {
			next = numberFraction
		} else if c|0x20 == 'e' {
			next = numberE
		}
	case numberE:
		if c == '+' || c == '-' {
			next = numberSign
		} else if digit {
			next = numberExponent
		}
	case numberSign, numberExponent:
		if digit {
			next = numberExponent
		}
	}
	if next != noNumber {
		s.number = next
		s.pos++
		return true
	}
	if !s.numberMayEnd() {
		return false
	}
	s.number = noNumber
	s.endValue()
	return true
}

// numberMayEnd reports whether a number is being read that would be whole without a further byte.
func (s *scanner) numberMayEnd() bool {
	switch s.number {
	case numberZero, numberInteger, numberFraction, numberExponent:
		return true
	}
	return false
}
