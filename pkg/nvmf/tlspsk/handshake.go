// SPDX-License-Identifier: Apache-2.0

package tlspsk

import (
	"crypto/hmac"
	"hash"
)

// handshake is what both ends keep while they shake hands. Nobody else uses the connection meanwhile.
type handshake struct {
	*Conn
	transcript hash.Hash
	// dummies counts change_cipher_spec records, which mean nothing and are passed over.
	dummies int
}

// maxDummies is more than any peer sends.
const maxDummies = 4

// next returns the next handshake message, whole and header included; it is valid until the one after.
// It must be of that type. alone says that keys change after it, so that nothing may follow in its
// record.
func (h *handshake) next(want messageType, alone bool) ([]byte, error) {
	m, err := h.assemble(nil)
	for err == nil && m == nil {
		var text []byte
		if text, err = h.nextPiece(); err == nil {
			m, err = h.assemble(text)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case messageType(m[0]) != want:
		return nil, fault(AlertUnexpectedMessage, "message of type %d, want %d", m[0], want)
	case alone && len(h.message) > 0:
		return nil, fault(AlertUnexpectedMessage, "more after a message that changes keys")
	}
	return m, nil
}

// nextPiece returns the text of the next record of the handshake.
func (h *handshake) nextPiece() ([]byte, error) {
	for {
		record, err := h.raw.next()
		if err != nil {
			return nil, err
		}
		if recordType(record[0]) == recordAlert && h.in.seq == 0 && len(record) == recordHeader+2 {
			// A peer that cannot make keys of what was said complains without.
			return nil, &Error{Alert: Alert(record[recordHeader+1]), Remote: true}
		}
		t, text, err := h.in.open(record)
		switch {
		case err != nil:
			return nil, err
		case t == recordHandshake && len(text) > 0:
			return text, nil
		case t == recordAlert:
			if err := h.alert(text); err != nil {
				return nil, err
			}
			h.dummies++
		case t == recordChangeCipherSpec && len(text) == 1 && text[0] == 1 && len(h.message) == 0:
			h.dummies++
		default:
			return nil, fault(AlertUnexpectedMessage, "a record of type %d with %d bytes within the handshake", t, len(text))
		}
		if h.dummies > maxDummies {
			return nil, fault(AlertUnexpectedMessage, "too many records that mean nothing")
		}
	}
}

// note adds a message to the transcript.
func (h *handshake) note(m []byte) { h.transcript.Write(m) }

// sum is the hash of the messages so far.
func (h *handshake) sum() []byte { return h.transcript.Sum(nil) }

// put seals a message for the next send, in as many records as it needs, and notes it.
func (h *handshake) put(m []byte) {
	h.note(m)
	for len(m) > 0 {
		n := min(len(m), maxText)
		h.sealed = h.out.seal(h.sealed, recordHandshake, m[:n])
		m = m[n:]
	}
}

// putFinished seals Finished with the secret of this end.
func (h *handshake) putFinished(secret []byte) {
	mac := h.suite.finished(secret, h.sum())
	h.put(message(finishedType, func(w *builder) { w.raw(mac) }))
}

// takeFinished checks the peer's Finished, with its secret.
func (h *handshake) takeFinished(secret []byte) error {
	want := h.suite.finished(secret, h.sum())
	m, err := h.next(finishedType, true)
	if err != nil {
		return err
	}
	if !hmac.Equal(m[messageHeader:], want) {
		return fault(AlertDecryptError, "the peer's Finished does not fit what was said")
	}
	h.note(m)
	return nil
}
