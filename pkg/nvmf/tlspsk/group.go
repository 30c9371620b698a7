// SPDX-License-Identifier: Apache-2.0

package tlspsk

import (
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
)

// group is one of Diffie-Hellman, by its number in TLS.
type group uint16

const (
	groupP256   group = 0x0017
	groupX25519 group = 0x001d
)

// curve returns the group's curve, or nil for a group that is not supported.
func (g group) curve() ecdh.Curve {
	switch g {
	case groupX25519:
		return ecdh.X25519()
	case groupP256:
		return ecdh.P256()
	default:
		return nil
	}
}

// generate makes a key of a supported group.
func (g group) generate() (*ecdh.PrivateKey, error) {
	key, err := g.curve().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("tlspsk: %w", err)
	}
	return key, nil
}

// agree returns the shared secret with a peer's public key, which may be anything.
func agree(key *ecdh.PrivateKey, public []byte) ([]byte, error) {
	peer, err := key.Curve().NewPublicKey(public)
	if err != nil {
		return nil, fault(AlertIllegalParameter, "the peer's public key is none")
	}
	shared, err := key.ECDH(peer)
	if err != nil { // X25519 with a point of low order
		return nil, fault(AlertIllegalParameter, "the peer's public key is none")
	}
	return shared, nil
}
