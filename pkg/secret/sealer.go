// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// sealedVersion opens every sealed value, so that another algorithm can follow.
const sealedVersion = "v1"

// maxSealedBytes bounds a sealed value before it is decoded.
const maxSealedBytes = 1 << 20

// Errors of [Sealer.Open]; test with errors.Is.
var (
	// ErrMalformed: the text is not a sealed value.
	ErrMalformed = errors.New("not a sealed value")
	// ErrUnknownKey: it was sealed with a key that the key file does not hold.
	ErrUnknownKey = errors.New("sealed with a key that is not in the key file")
	// ErrNotAuthentic: it was changed, or sealed for another place, or with another key of that id.
	ErrNotAuthentic = errors.New("sealed value was changed, or belongs to another place")
)

// Place says where a sealed value belongs. It opens only there.
type Place struct {
	// Document is the name of the document that holds the value.
	Document string
	// Field is the path of the field in the document.
	Field string
}

// associated encodes the place without ambiguity: each part carries its length.
func (p Place) associated() []byte {
	b := []byte("opi-bridge sealed " + sealedVersion)
	for _, part := range []string{p.Document, p.Field} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

// Sealer seals with the first of its keys and opens with whichever key a value names. It is safe
// for use by several goroutines. One key is good for 2^32 values (random nonces of 96 bits): a
// bridge that seals a thousand values a second reaches that after seven weeks, so rotate then.
type Sealer struct {
	first string
	aeads map[string]cipher.AEAD
}

// NewSealer returns a Sealer over keys, the first of which seals. There must be at least one, and
// the ids must differ.
func NewSealer(keys []Key) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("no key to seal with: the key file is empty")
	}
	s := &Sealer{first: keys[0].ID, aeads: make(map[string]cipher.AEAD, len(keys))}
	for _, k := range keys {
		if err := k.validate(); err != nil {
			return nil, err
		}
		if _, twice := s.aeads[k.ID]; twice {
			return nil, fmt.Errorf("key id %q is there twice: give each key its own id", k.ID)
		}
		block, err := aes.NewCipher(k.Material.bytes())
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", k.ID, err)
		}
		if s.aeads[k.ID], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, fmt.Errorf("key %q: %w", k.ID, err)
		}
	}
	return s, nil
}

// Seal encrypts v for the place. Sealing twice gives different texts.
func (s *Sealer) Seal(v Value, at Place) string {
	box := s.aeads[s.first].Seal(nil, nil, v.bytes(), at.associated()) //nolint:gosec // the AEAD makes a random nonce itself
	return sealedVersion + ":" + s.first + ":" + base64.StdEncoding.EncodeToString(box)
}

// Open decrypts a sealed value at its place. The errors are [ErrMalformed], [ErrUnknownKey] and
// [ErrNotAuthentic], and name the place and the key id.
func (s *Sealer) Open(sealed string, at Place) (Value, error) {
	id, box, err := split(sealed)
	if err != nil {
		return Value{}, fmt.Errorf("open %s of %q: %w", at.Field, at.Document, err)
	}
	aead, ok := s.aeads[id]
	if !ok {
		return Value{}, fmt.Errorf("open %s of %q: %w: key id %q", at.Field, at.Document, ErrUnknownKey, id)
	}
	plain, err := aead.Open(nil, nil, box, at.associated())
	if err != nil {
		return Value{}, fmt.Errorf("open %s of %q: %w (key id %q)", at.Field, at.Document, ErrNotAuthentic, id)
	}
	return own(plain), nil
}

// Current reports whether the value was sealed with the key that seals now. One that was not should
// be opened, sealed again and stored, before its key is taken out of the file.
func (s *Sealer) Current(sealed string) bool {
	id, _, err := split(sealed)
	return err == nil && id == s.first
}

func split(sealed string) (id string, box []byte, err error) {
	if len(sealed) > maxSealedBytes {
		return "", nil, fmt.Errorf("%w: %d bytes, at most %d are expected", ErrMalformed, len(sealed), maxSealedBytes)
	}
	parts := strings.Split(sealed, ":")
	if len(parts) != 3 || parts[0] != sealedVersion {
		return "", nil, fmt.Errorf("%w: expected %s:<key id>:<base64>", ErrMalformed, sealedVersion)
	}
	if box, err = base64.StdEncoding.DecodeString(parts[2]); err != nil {
		return "", nil, fmt.Errorf("%w: the third part is not base64", ErrMalformed)
	}
	return parts[1], box, nil
}
