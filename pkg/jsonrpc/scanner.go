// SPDX-License-Identifier: Apache-2.0

package jsonrpc

// maxNesting is how deep arrays and objects may nest (SPDK's limit). It is also the number of bits
// of scanner.objects.
const maxNesting = 64

// verdict is what a scanner knows of the value it is looking at.
type verdict uint8

const (
	incomplete verdict = iota // all right so far, more bytes are needed
	complete                  // the value and the white space behind it end at scanner.pos
	invalid                   // no continuation can make this JSON
)

// What may come next.
const (
	wantValue     = iota // a value, or the end of an array that has just begun
	wantSeparator        // a comma or the end of the container
	wantName             // a member name, or the end of an object that has just begun
	wantColon
	wantNothing // the value is complete
)

// States within a number (RFC 8259, section 6).
const (
	noNumber = iota
	numberMinus
	numberZero
	numberInteger
	numberPoint
	numberFraction
	numberE
	numberSign
	numberExponent
)

// scanner finds the end of the first JSON value in a buffer that grows at its end, and checks it
// strictly: RFC 8259, valid UTF-8, surrogates in pairs only. It goes on where it stopped, so each
// byte is looked at once however slowly they come. The zero scanner is ready for use.
type scanner struct {
	pos     int    // bytes that have been examined
	values  int    // values seen; names and both brackets count, as in SPDK
	objects uint64 // bit i tells whether the container at depth i is an object
	depth   int
	want    int
	number  int  // state within a number, noNumber outside
	quoted  bool // within a string
	comma   bool // the last token was a comma
	broken  bool // invalid, for ever
}

// scan examines what buf holds beyond what earlier calls have seen.
func (s *scanner) scan(buf []byte) verdict {
	for s.pos < len(buf) && s.want != wantNothing && !s.broken {
		var ok, more bool
		switch {
		case s.quoted:
			ok, more = s.text(buf)
		case s.number != noNumber:
			ok = s.digit(buf[s.pos])
		default:
			ok, more = s.token(buf)
		}
		s.broken = !ok
		if more && ok {
			return incomplete
		}
	}
	if s.broken {
		return invalid
	}
	if s.depth == 0 && s.numberMayEnd() {
		s.number = noNumber
		s.endValue()
	}
	if s.want != wantNothing {
		return incomplete
	}
	for s.pos < len(buf) && isSpace(buf[s.pos]) {
		s.pos++
	}
	return complete
}

// token takes the token that begins at pos. It reports whether the token is allowed there, and
// whether more bytes are needed to know.
func (s *scanner) token(buf []byte) (ok, more bool) {
	c := buf[s.pos]
	switch {
	case isSpace(c):
	case c == '"' && (s.want == wantValue || s.want == wantName):
		s.quoted = true
		s.values++
	case s.want == wantValue && (c == '{' || c == '['):
		ok = s.open(c == '{')
		s.pos++
		return ok, false
	case c == '}' || c == ']':
		ok = s.close(c == '}')
		s.pos++
		return ok, false
	case c == ',' && s.want == wantSeparator:
		s.want = wantValue
		if s.inObject() {
			s.want = wantName
		}
		s.comma = true
	case c == ':' && s.want == wantColon:
		s.want = wantValue
	case s.want != wantValue:
		return false, false
	case c == '-':
		s.number = numberMinus
		s.values++
	case c == '0':
		s.number = numberZero
		s.values++
	case c >= '1' && c <= '9':
		s.number = numberInteger
		s.values++
	default:
		return s.literal(buf)
	}
	s.pos++
	return true, false
}

// open begins a container.
func (s *scanner) open(object bool) bool {
	if s.depth == maxNesting {
		return false
	}
	s.objects &^= 1 << s.depth
	s.want = wantValue
	if object {
		s.objects |= 1 << s.depth
		s.want = wantName
	}
	s.depth++
	s.values++
	s.comma = false
	return true
}

// close ends a container.
func (s *scanner) close(object bool) bool {
	if s.depth == 0 || s.comma || object != s.inObject() {
		return false
	}
	empty := wantValue
	if object {
		empty = wantName
	}
	if s.want != wantSeparator && s.want != empty {
		return false
	}
	s.depth--
	s.values++
	s.endValue()
	return true
}

func (s *scanner) inObject() bool { return s.depth > 0 && s.objects>>(s.depth-1)&1 == 1 }

func (s *scanner) endValue() {
	s.comma = false
	s.want = wantSeparator
	if s.depth == 0 {
		s.want = wantNothing
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
