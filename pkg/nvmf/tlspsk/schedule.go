// SPDX-License-Identifier: Apache-2.0

package tlspsk

import (
	"crypto/hkdf"
	"crypto/hmac"
	"encoding/binary"
	"fmt"
)

// The key schedule of RFC 8446, section 7.1, as far as a handshake with a pre-shared key needs it.

// ivSize is that of all suites, in bytes.
const ivSize = 12

// expandLabel is HKDF-Expand-Label.
func (s Suite) expandLabel(secret []byte, label string, context []byte, size int) []byte {
	const prefix = "tls13 "
	info := binary.BigEndian.AppendUint16(nil, uint16(size)) //nolint:gosec // at most 48
	info = append(info, byte(len(prefix)+len(label)))        //nolint:gosec // our own labels are short
	info = append(info, prefix...)
	info = append(info, label...)
	info = append(info, byte(len(context))) //nolint:gosec // a hash or nothing
	info = append(info, context...)
	out, err := hkdf.Expand(s.Hash(), secret, string(info), size)
	if err != nil { // of more than 255 hashes only
		panic(fmt.Sprintf("tlspsk: expand %s to %d bytes: %v", label, size, err))
	}
	return out
}

// extract is HKDF-Extract. An empty salt or key stands for as many zeros as the hash has bytes.
func (s Suite) extract(salt, key []byte) []byte {
	if len(key) == 0 {
		key = make([]byte, s.hashSize())
	}
	out, err := hkdf.Extract(s.Hash(), key, salt)
	if err != nil { // only where the hash is not approved
		panic(fmt.Sprintf("tlspsk: extract: %v", err))
	}
	return out
}

// derive is Derive-Secret with the hash of the messages so far.
func (s Suite) derive(secret []byte, label string, transcript []byte) []byte {
	return s.expandLabel(secret, label, transcript, s.hashSize())
}

// nothing is the hash of no messages.
func (s Suite) nothing() []byte { return s.Hash()().Sum(nil) }

// earlySecret begins the schedule with the pre-shared key.
func (s Suite) earlySecret(psk []byte) []byte { return s.extract(nil, psk) }

// handshakeSecret mixes in what the Diffie-Hellman exchange has yielded.
func (s Suite) handshakeSecret(early, shared []byte) []byte {
	return s.extract(s.derive(early, "derived", s.nothing()), shared)
}

// masterSecret ends the schedule.
func (s Suite) masterSecret(handshake []byte) []byte {
	return s.extract(s.derive(handshake, "derived", s.nothing()), nil)
}

// binderKey is for the binder of an external key.
func (s Suite) binderKey(early []byte) []byte { return s.derive(early, "ext binder", s.nothing()) }

// finished is the MAC of Finished (section 4.4.4), and of a binder with binderKey as its secret.
func (s Suite) finished(secret, transcript []byte) []byte {
	mac := hmac.New(s.Hash(), s.expandLabel(secret, "finished", nil, s.hashSize()))
	mac.Write(transcript)
	return mac.Sum(nil)
}

// next is the traffic secret after a key update (section 7.2).
func (s Suite) next(secret []byte) []byte {
	return s.expandLabel(secret, "traffic upd", nil, s.hashSize())
}

// traffic returns key and initial vector of a traffic secret (section 7.3).
func (s Suite) traffic(secret []byte) (key, iv []byte) {
	return s.expandLabel(secret, "key", nil, s.keySize()), s.expandLabel(secret, "iv", nil, ivSize)
}
