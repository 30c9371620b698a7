// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
)

// The functions here take JSON text apart without building anything in between. The envelope has
// been checked to be well-formed by then; on text that is not, they report failure and never read
// outside it.

// eachMember calls visit for the members of the object raw, in order, with the key unescaped and
// the value as written. It reports false when raw is not an object or visit says so.
func eachMember(raw []byte, visit func(key string, value []byte) bool) bool {
	return eachElement(raw, '{', '}', func(rest []byte) (int, bool) {
		n := valueLen(rest)
		if n == 0 || rest[0] != '"' {
			return 0, false
		}
		key, ok := text(rest[:n])
		if !ok {
			return 0, false
		}
		n += blanks(rest[n:])
		if n >= len(rest) || rest[n] != ':' {
			return 0, false
		}
		n++
		n += blanks(rest[n:])
		size := valueLen(rest[n:])
		if size == 0 {
			return 0, false
		}
		return n + size, visit(key, rest[n:n+size])
	})
}

// eachItem calls visit for the elements of the array raw, in order.
func eachItem(raw []byte, visit func(value []byte) bool) bool {
	return eachElement(raw, '[', ']', func(rest []byte) (int, bool) {
		n := valueLen(rest)
		return n, n > 0 && visit(rest[:n])
	})
}

// eachElement walks what stands between open and closing bracket, separated by commas. take is
// given what is left and returns how much of it belongs to the element.
func eachElement(raw []byte, opening, closing byte, take func(rest []byte) (int, bool)) bool {
	if len(raw) < 2 || raw[0] != opening || raw[len(raw)-1] != closing {
		return false
	}
	rest := raw[1 : len(raw)-1]
	rest = rest[blanks(rest):]
	if len(rest) == 0 {
		return true
	}
	for {
		n, ok := take(rest)
		if !ok {
			return false
		}
		n += blanks(rest[n:])
		if n == len(rest) {
			return true
		}
		if rest[n] != ',' {
			return false
		}
		n++
		rest = rest[n+blanks(rest[n:]):]
	}
}

// blanks returns the length of the white space at the start of b.
func blanks(b []byte) int {
	for i, c := range b {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return i
		}
	}
	return len(b)
}

// valueLen returns the length of the JSON value at the start of b, or 0 when there is none.
func valueLen(b []byte) int {
	depth := 0
	for i := 0; i < len(b); {
		switch b[i] {
		case '"':
			n := quotedLen(b[i:])
			if n == 0 {
				return 0
			}
			i += n
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		default:
			if depth > 0 {
				i++
				continue
			}
			n := bytes.IndexAny(b[i:], ",:]} \t\r\n\"{[")
			if n < 0 {
				n = len(b) - i
			}
			return i + n
		}
		if depth <= 0 {
			return i
		}
	}
	return 0
}

// quotedLen returns the length of the string at the start of b with both quotes, or 0.
func quotedLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// text returns the string that raw is. A NUL in it is refused, as a C string could not hold it.
func text(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	var s string
	if json.Unmarshal(raw, &s) != nil || strings.IndexByte(s, 0) >= 0 {
		return "", false
	}
	return s, true
}

// wholeNumber returns the value of a JSON number that is a whole number of at most 64 bits, however
// it is written: 1000, 1000.0 and 1e3 are the same, 8.5 is none.
func wholeNumber(raw []byte) (value uint64, negative, ok bool) {
	s := string(raw)
	if strings.HasPrefix(s, "-") {
		negative, s = true, s[1:]
	}
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false, false
	}
	mantissa, exponent, hasExponent := cutAny(s, "eE")
	power := 0
	if hasExponent {
		if power, ok = smallInt(exponent); !ok {
			return 0, false, false
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	fraction = strings.TrimRight(fraction, "0")
	digits := strings.TrimLeft(whole+fraction, "0")
	power -= len(fraction)
	for power < 0 && strings.HasSuffix(digits, "0") {
		digits, power = digits[:len(digits)-1], power+1
	}
	if digits == "" {
		return 0, negative, true
	}
	if power < 0 || len(digits)+power > 20 {
		return 0, false, false
	}
	for _, c := range digits + strings.Repeat("0", power) {
		if c < '0' || c > '9' {
			return 0, false, false
		}
		d := uint64(c - '0')
		if value > (math.MaxUint64-d)/10 {
			return 0, false, false
		}
		value = value*10 + d
	}
	return value, negative, true
}

// cutAny is strings.Cut at the first of several characters.
func cutAny(s, chars string) (before, after string, found bool) {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// smallInt reads an exponent of at most three digits.
func smallInt(s string) (int, bool) {
	sign := 1
	switch {
	case strings.HasPrefix(s, "-"):
		sign, s = -1, s[1:]
	case strings.HasPrefix(s, "+"):
		s = s[1:]
	}
	if s == "" || len(s) > 3 {
		return 0, false
	}
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return sign * n, true
}
