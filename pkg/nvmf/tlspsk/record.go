// SPDX-License-Identifier: Apache-2.0

package tlspsk

import (
	"crypto/cipher"
	"encoding/binary"
	"io"
)

// The record layer (RFC 8446, section 5).

type recordType uint8

const (
	recordChangeCipherSpec recordType = 20
	recordAlert            recordType = 21
	recordHandshake        recordType = 22
	recordData             recordType = 23
)

const (
	recordHeader = 5
	// maxText is the most a record carries, in bytes.
	maxText = 1 << 14
	// maxSealed is the most a protected record has after its header.
	maxSealed = maxText + 256
	// legacyVersion stands in every record and hello, for the sake of machines in between.
	legacyVersion = 0x0303
	// tagSize is what a suite adds, beside the byte for the type.
	tagSize = 16
	// sealedMore is how much longer a record is than its text.
	sealedMore = recordHeader + 1 + tagSize
)

// half is one direction of a connection: plain until a secret has been set.
type half struct {
	suite  Suite
	secret []byte
	aead   cipher.AEAD
	iv     [ivSize]byte
	nonce  [ivSize]byte
	seq    uint64 // of the next record under this key
}

// setSecret protects what follows with the keys of a traffic secret.
func (h *half) setSecret(s Suite, secret []byte) error {
	key, iv := s.traffic(secret)
	aead, err := s.aead(key)
	if err != nil {
		return err
	}
	h.suite, h.secret, h.aead, h.seq = s, secret, aead, 0
	copy(h.iv[:], iv)
	return nil
}

// update goes on to the next traffic secret.
func (h *half) update() error { return h.setSecret(h.suite, h.suite.next(h.secret)) }

// nextNonce returns the nonce of the next record.
func (h *half) nextNonce() []byte {
	h.nonce = h.iv
	last := h.nonce[ivSize-8:]
	binary.BigEndian.PutUint64(last, binary.BigEndian.Uint64(last)^h.seq)
	h.seq++
	return h.nonce[:]
}

// begin makes room for the header of a record that is appended to b; its text comes next.
func (h *half) begin(b []byte) []byte { return append(b, 0, 0, 0, 0, 0) }

// finish seals the record that begins at start and ends with b.
func (h *half) finish(b []byte, start int, t recordType) []byte {
	header := b[start : start+recordHeader]
	if h.aead == nil {
		putHeader(header, t, len(b)-start-recordHeader)
		return b
	}
	b = append(b, byte(t))
	header = b[start : start+recordHeader]
	text := b[start+recordHeader:]
	putHeader(header, recordData, len(text)+tagSize)
	sealed := h.aead.Seal(text[:0], h.nextNonce(), text, header) // in place, where there is room
	return append(b[:start+recordHeader], sealed...)
}

// seal appends a whole record to b.
func (h *half) seal(b []byte, t recordType, text []byte) []byte {
	start := len(b)
	return h.finish(append(h.begin(b), text...), start, t)
}

func putHeader(b []byte, t recordType, size int) {
	b[0] = byte(t)
	binary.BigEndian.PutUint16(b[1:], legacyVersion)
	binary.BigEndian.PutUint16(b[3:], uint16(size)) //nolint:gosec // at most maxSealed
}

// open checks a whole record, header included, and returns type and text. The text lies in the record.
func (h *half) open(record []byte) (recordType, []byte, error) {
	outer, body := recordType(record[0]), record[recordHeader:]
	if h.aead == nil || outer == recordChangeCipherSpec {
		return outer, body, nil
	}
	if outer != recordData {
		return 0, nil, fault(AlertUnexpectedMessage, "a record of type %d without protection", outer)
	}
	text, err := h.aead.Open(body[:0], h.nextNonce(), body, record[:recordHeader])
	if err != nil {
		return 0, nil, fault(AlertBadRecordMAC, "a record is not what the peer sealed")
	}
	if len(text) > maxText+1 {
		return 0, nil, fault(AlertRecordOverflow, "a record has %d bytes", len(text)-1)
	}
	end := len(text)
	for end > 0 && text[end-1] == 0 { // padding
		end--
	}
	if end == 0 {
		return 0, nil, fault(AlertUnexpectedMessage, "a record without a type")
	}
	return recordType(text[end-1]), text[:end-1], nil
}

// The receive buffer begins small, for there may be many idle connections, and doubles while reads
// fill it. Sizes in bytes.
const (
	bufferFirst   = 4 << 10
	bufferLargest = 128 << 10
)

// receiver cuts what comes in into records.
type receiver struct {
	from       io.Reader
	buf        []byte
	start, end int
	// protected says whether a record may be as long as a sealed one.
	protected bool
}

// buffered says whether there is a whole record without reading.
func (r *receiver) buffered() bool {
	have := r.end - r.start
	return have >= recordHeader && have >= recordHeader+int(binary.BigEndian.Uint16(r.buf[r.start+3:]))
}

// next returns the next record, which is valid until the one after it.
func (r *receiver) next() ([]byte, error) {
	if err := r.need(recordHeader); err != nil {
		return nil, err
	}
	head := r.buf[r.start:]
	size := int(binary.BigEndian.Uint16(head[3:]))
	most := maxText
	if r.protected {
		most = maxSealed
	}
	switch {
	case recordType(head[0]) < recordChangeCipherSpec || recordType(head[0]) > recordData:
		return nil, fault(AlertUnexpectedMessage, "this is not TLS: a record of type %d", head[0])
	case head[1] != legacyVersion>>8:
		return nil, fault(AlertProtocolVersion, "this is not TLS: a record of version %d.%d", head[1], head[2])
	case size > most:
		return nil, fault(AlertRecordOverflow, "a record of %d bytes, %d are allowed", size, most)
	}
	if err := r.need(recordHeader + size); err != nil {
		return nil, err
	}
	record := r.buf[r.start : r.start+recordHeader+size]
	r.start += len(record)
	return record, nil
}

// need reads until n bytes are there. The end of the stream is an error, but for io.EOF before the
// first of them.
func (r *receiver) need(n int) error {
	for r.end-r.start < n {
		if r.start > 0 && (r.start == r.end || len(r.buf)-r.start < n) {
			r.end = copy(r.buf, r.buf[r.start:r.end])
			r.start = 0
		}
		if len(r.buf) < n {
			r.buf = append(r.buf[:r.end], make([]byte, max(n, bufferFirst)-r.end)...)
		}
		k, err := r.from.Read(r.buf[r.end:])
		r.end += k
		if r.end == len(r.buf) && len(r.buf) < bufferLargest {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		if err != nil && r.end-r.start < n {
			if err == io.EOF && r.end > r.start {
				err = io.ErrUnexpectedEOF
			}
			return err //nolint:wrapcheck // io.Reader hands errors on as they are
		}
	}
	return nil
}
