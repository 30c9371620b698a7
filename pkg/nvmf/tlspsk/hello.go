// SPDX-License-Identifier: Apache-2.0

package tlspsk

import (
	"bytes"
	"slices"
)

// Handshake messages (RFC 8446, section 4).

type messageType uint8

const (
	clientHelloType         messageType = 1
	serverHelloType         messageType = 2
	newSessionTicketType    messageType = 4
	encryptedExtensionsType messageType = 8
	finishedType            messageType = 20
	keyUpdateType           messageType = 24
)

type extensionType uint16

const (
	supportedGroups   extensionType = 10
	preSharedKey      extensionType = 41
	earlyData         extensionType = 42
	supportedVersions extensionType = 43
	keyExchangeModes  extensionType = 45
	keyShare          extensionType = 51
)

const (
	version13 = 0x0304
	// pskDHEKE is the mode with a Diffie-Hellman exchange beside the key.
	pskDHEKE = 1
	// messageHeader is type and length.
	messageHeader = 4
	// maxMessage bounds a handshake message, header included, in bytes.
	maxMessage = 16 << 10
	// maxIdentities is how many a server looks at.
	maxIdentities = 8
	// maxExtensions is more than any client sends.
	maxExtensions = 64
	randomSize    = 32
)

// share is a public key for the Diffie-Hellman exchange.
type share struct {
	group  group
	public []byte
}

// clientHello holds what matters here. Its slices lie in the message it was read from.
type clientHello struct {
	random     []byte
	session    []byte
	suites     []int
	versions   []int
	groups     []int
	modes      []byte
	shares     []share
	identities [][]byte
	binders    [][]byte
	early      bool
	// truncated is how much of the message the binders cover.
	truncated int
	seen      map[extensionType]bool
}

// extensions calls handle for each, and fails for one that comes twice.
func extensions(p *parser, b []byte, handle func(t extensionType, body *parser, last bool) error) error {
	seen := map[extensionType]bool{}
	for in := (&parser{b: b}); len(in.b) > 0; {
		t := extensionType(in.u16()) //nolint:gosec // two bytes
		body := &parser{b: in.vector16(0)}
		switch {
		case in.failed:
			return fault(AlertDecodeError, "an extension is cut short")
		case seen[t]:
			return fault(AlertIllegalParameter, "extension %d comes twice", t)
		case len(seen) == maxExtensions:
			return fault(AlertDecodeError, "more than %d extensions", maxExtensions)
		}
		seen[t] = true
		if err := handle(t, body, len(in.b) == 0); err != nil {
			return err
		}
		if body.failed {
			return fault(AlertDecodeError, "extension %d is malformed", t)
		}
	}
	if !p.done() {
		return fault(AlertDecodeError, "a message is malformed")
	}
	return nil
}

// parseClientHello reads a whole ClientHello, header included.
func parseClientHello(m []byte) (*clientHello, error) {
	h := &clientHello{seen: map[extensionType]bool{}}
	p := &parser{b: m[messageHeader:]}
	version := p.u16()
	h.random = p.take(randomSize)
	h.session = p.vector8(0)
	h.suites = p.list16()
	compression := p.vector8(1)
	if p.failed || len(h.session) > 32 {
		return nil, fault(AlertDecodeError, "ClientHello is malformed")
	}
	if version != legacyVersion || len(p.b) == 0 {
		return nil, fault(AlertProtocolVersion, "the client does not offer TLS 1.3")
	}
	err := extensions(p, p.vector16(0), func(t extensionType, b *parser, last bool) error {
		h.seen[t] = true
		return h.extension(len(m), t, b, last)
	})
	if err != nil {
		return nil, err
	}
	if slices.Contains(h.versions, version13) && !bytes.Equal(compression, []byte{0}) {
		return nil, fault(AlertIllegalParameter, "the client offers compression")
	}
	return h, nil
}

func (h *clientHello) extension(size int, t extensionType, b *parser, last bool) error {
	switch t {
	case supportedVersions:
		h.versions = numbers(b, b.vector8(2))
	case supportedGroups:
		h.groups = b.list16()
	case keyExchangeModes:
		h.modes = b.vector8(1)
	case keyShare:
		for in := (&parser{b: b.vector16(0)}); len(in.b) > 0; {
			s := share{group: group(in.u16()), public: in.vector16(1)} //nolint:gosec // two bytes
			b.failed = b.failed || in.failed
			h.shares = append(h.shares, s)
		}
	case earlyData:
		h.early = true
	case preSharedKey:
		if !last {
			return fault(AlertIllegalParameter, "pre_shared_key is not the last extension")
		}
		for in := (&parser{b: b.vector16(7)}); len(in.b) > 0; {
			h.identities = append(h.identities, in.vector16(1))
			in.take(4) // the age of a ticket, of which there are none
			b.failed = b.failed || in.failed
		}
		h.truncated = size - len(b.b)
		for in := (&parser{b: b.vector16(33)}); len(in.b) > 0; {
			h.binders = append(h.binders, in.vector8(32))
			b.failed = b.failed || in.failed
		}
		if len(h.binders) != len(h.identities) {
			return fault(AlertIllegalParameter, "%d identities have %d binders", len(h.identities), len(h.binders))
		}
	default:
		b.b = nil // nothing that concerns us
	}
	b.failed = b.failed || len(b.b) > 0
	return nil
}

// serverHello holds what matters here.
type serverHello struct {
	random, session []byte
	suite, version  int
	share           share
	// selected is the index of the identity, -1 if there is none.
	selected int
}

// retryRandom marks a ServerHello as a HelloRetryRequest: the SHA-256 of that name (section 4.1.3).
var retryRandom = [randomSize]byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// parseServerHello reads a whole ServerHello, header included.
func parseServerHello(m []byte) (*serverHello, error) {
	h := &serverHello{selected: -1}
	p := &parser{b: m[messageHeader:]}
	version := p.u16()
	h.random = p.take(randomSize)
	h.session = p.vector8(0)
	h.suite = p.u16()
	compression := p.u8()
	switch {
	case p.failed:
		return nil, fault(AlertDecodeError, "ServerHello is malformed")
	case version != legacyVersion || len(p.b) == 0:
		return nil, fault(AlertProtocolVersion, "the server does not speak TLS 1.3")
	case bytes.Equal(h.random, retryRandom[:]):
		return nil, fault(AlertIllegalParameter, "the server takes neither X25519 nor P-256")
	case compression != 0:
		return nil, fault(AlertIllegalParameter, "the server compresses")
	}
	err := extensions(p, p.vector16(0), func(t extensionType, b *parser, _ bool) error {
		switch t {
		case supportedVersions:
			h.version = b.u16()
		case keyShare:
			h.share = share{group: group(b.u16()), public: b.vector16(1)} //nolint:gosec // two bytes
		case preSharedKey:
			h.selected = b.u16()
		default:
			return fault(AlertUnsupportedExtension, "ServerHello has extension %d", t)
		}
		b.failed = b.failed || len(b.b) > 0
		return nil
	})
	return h, err
}
