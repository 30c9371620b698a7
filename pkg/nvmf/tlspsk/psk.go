// SPDX-License-Identifier: Apache-2.0

package tlspsk

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
)

// Suite is a cipher suite, by its number in TLS (RFC 8446, appendix B.4).
type Suite uint16

// The suites there are. A key is used with exactly one.
const (
	AES128GCMSHA256 Suite = 0x1301
	AES256GCMSHA384 Suite = 0x1302
)

// String returns the suite's name in TLS.
func (s Suite) String() string {
	switch s {
	case AES128GCMSHA256:
		return "TLS_AES_128_GCM_SHA256"
	case AES256GCMSHA384:
		return "TLS_AES_256_GCM_SHA384"
	default:
		return fmt.Sprintf("suite %#04x", uint16(s))
	}
}

// Hash returns the hash function of the suite.
func (s Suite) Hash() func() hash.Hash {
	if s == AES256GCMSHA384 {
		return sha512.New384
	}
	return sha256.New
}

// hashSize is in bytes.
func (s Suite) hashSize() int {
	if s == AES256GCMSHA384 {
		return sha512.Size384
	}
	return sha256.Size
}

// keySize is that of the AEAD, in bytes.
func (s Suite) keySize() int {
	if s == AES256GCMSHA384 {
		return 32
	}
	return 16
}

func (s Suite) aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("tlspsk: %w", err)
	}
	return cipher.NewGCM(block) //nolint:wrapcheck // of a block of 16 bytes it cannot fail
}

// PSK is a pre-shared key as TLS uses it. It does not print.
type PSK struct {
	// Identity is the name under which the client offers the key, 1 to 65535 bytes; not secret.
	Identity string
	// Suite is the only one the key is used with.
	Suite Suite
	// Key is the secret, 16 bytes or more. It must not change while the PSK is in use.
	Key []byte
}

// minKeySize is what keeps a key from being guessed.
const minKeySize = 16

// String names the identity and hides the key.
func (p PSK) String() string { return fmt.Sprintf("PSK of %q for %s", p.Identity, p.Suite) }

// GoString hides the key too.
func (p PSK) GoString() string { return p.String() }

func (p PSK) validate() error {
	switch {
	case p.Suite != AES128GCMSHA256 && p.Suite != AES256GCMSHA384:
		return fmt.Errorf("tlspsk: %s is not supported", p.Suite)
	case p.Identity == "" || len(p.Identity) > 1<<16-1:
		return errors.New("tlspsk: an identity has 1 to 65535 bytes")
	case len(p.Key) < minKeySize:
		return fmt.Errorf("tlspsk: a key has at least %d bytes", minKeySize)
	}
	return nil
}
