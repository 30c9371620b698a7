// SPDX-License-Identifier: Apache-2.0

package tlspsk

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"io"
	"net"
)

// Client shakes hands as the client and returns when both ends have proved that they have the key. The
// caller bounds the time by deadlines of conn, and closes conn after an error.
func Client(conn net.Conn, key PSK) (*Conn, error) {
	if err := key.validate(); err != nil {
		return nil, err
	}
	c := newConn(conn)
	c.identity, c.suite = key.Identity, key.Suite
	h := &handshake{Conn: c, transcript: key.Suite.Hash()()}
	c.readMu.Lock() // nobody knows c yet: this is for the rules of its members only
	defer c.readMu.Unlock()
	if err := h.client(key); err != nil {
		if err == io.EOF { //nolint:errorlint // readers return it bare
			err = io.ErrUnexpectedEOF
		}
		return nil, c.tell(err)
	}
	return c, nil
}

// offered are the groups that a client sends shares of, so that no server needs to ask again.
func offered() []group { return []group{groupX25519, groupP256} }

func (h *handshake) client(key PSK) error {
	early := h.suite.earlySecret(key.Key)
	keys := map[group]*ecdh.PrivateKey{}
	for _, g := range offered() {
		k, err := g.generate()
		if err != nil {
			return err
		}
		keys[g] = k
	}
	h.put(h.clientHello(key, early, keys))
	if err := h.flush(); err != nil {
		return err
	}

	m, err := h.next(serverHelloType, true)
	if err != nil {
		return err
	}
	hello, err := parseServerHello(m)
	if err != nil {
		return err
	}
	shared, err := h.judge(hello, keys)
	if err != nil {
		return err
	}
	h.note(m)
	h.raw.protected = true
	secret := h.suite.handshakeSecret(early, shared)
	sum := h.sum()
	fromClient, fromServer := h.suite.derive(secret, "c hs traffic", sum), h.suite.derive(secret, "s hs traffic", sum)
	if err := h.protect(fromServer, fromClient); err != nil {
		return err
	}

	if m, err = h.next(encryptedExtensionsType, false); err != nil {
		return err
	}
	if err := checkEncryptedExtensions(m); err != nil {
		return err
	}
	h.note(m)
	if err := h.takeFinished(fromServer); err != nil {
		return err
	}
	secret = h.suite.masterSecret(secret)
	sum = h.sum()
	h.putFinished(fromClient)
	if err := h.flush(); err != nil {
		return err
	}
	return h.protect(h.suite.derive(secret, "s ap traffic", sum), h.suite.derive(secret, "c ap traffic", sum))
}

// protect sets the secrets of both directions.
func (h *handshake) protect(in, out []byte) error {
	if err := h.in.setSecret(h.suite, in); err != nil {
		return err
	}
	return h.out.setSecret(h.suite, out)
}

// flush writes what has been sealed.
func (h *handshake) flush() error {
	h.writeMu.Lock()
	defer h.writeMu.Unlock()
	return h.send()
}

// clientHello builds the message, binder included.
func (h *handshake) clientHello(key PSK, early []byte, keys map[group]*ecdh.PrivateKey) []byte {
	random := make([]byte, randomSize)
	rand.Read(random)
	binderSize := h.suite.hashSize()
	m := message(clientHelloType, func(w *builder) {
		w.u16(legacyVersion)
		w.raw(random)
		w.vector8(nil) // no session: nothing between us and the server needs to be fooled
		w.vector(2, func() { w.u16(int(h.suite)) })
		w.vector8([]byte{0})
		w.vector(2, func() {
			w.extension(supportedVersions, func() { w.vector(1, func() { w.u16(version13) }) })
			w.extension(supportedGroups, func() {
				w.vector(2, func() {
					for _, g := range offered() {
						w.u16(int(g))
					}
				})
			})
			w.extension(keyExchangeModes, func() { w.vector8([]byte{pskDHEKE}) })
			w.extension(keyShare, func() {
				w.vector(2, func() {
					for _, g := range offered() {
						w.u16(int(g))
						w.vector16(keys[g].PublicKey().Bytes())
					}
				})
			})
			w.extension(preSharedKey, func() { // the last one
				w.vector(2, func() {
					w.vector16([]byte(key.Identity))
					w.raw(make([]byte, 4)) // the age of a ticket
				})
				w.vector(2, func() { w.vector8(make([]byte, binderSize)) })
			})
		})
	})
	truncated := m[:len(m)-binderSize-3]
	sum := h.suite.Hash()()
	sum.Write(truncated)
	copy(m[len(m)-binderSize:], h.suite.finished(h.suite.binderKey(early), sum.Sum(nil)))
	return m
}

// judge refuses a ServerHello that is anything but what was offered, and returns the shared secret.
func (h *handshake) judge(s *serverHello, keys map[group]*ecdh.PrivateKey) ([]byte, error) {
	switch {
	case s.version != version13:
		return nil, fault(AlertProtocolVersion, "the server does not speak TLS 1.3")
	case !bytes.Equal(s.session, nil):
		return nil, fault(AlertIllegalParameter, "the server names a session that was not offered")
	case s.suite != int(h.suite):
		return nil, fault(AlertIllegalParameter, "the server chose %s, %s was offered", Suite(s.suite), h.suite) //nolint:gosec // two bytes
	case s.selected < 0:
		return nil, fault(AlertHandshakeFailure, "the server did not take the key %q", h.identity)
	case s.selected > 0:
		return nil, fault(AlertIllegalParameter, "the server chose key %d of 1", s.selected+1)
	case s.share.public == nil:
		return nil, fault(AlertMissingExtension, "the server wants no Diffie-Hellman exchange")
	case keys[s.share.group] == nil:
		return nil, fault(AlertIllegalParameter, "the server chose a group that was not offered")
	}
	return agree(keys[s.share.group], s.share.public)
}

// checkEncryptedExtensions refuses all but the groups a server likes, which concern nobody.
func checkEncryptedExtensions(m []byte) error {
	p := &parser{b: m[messageHeader:]}
	return extensions(p, p.vector16(0), func(t extensionType, b *parser, _ bool) error {
		if t != supportedGroups {
			return fault(AlertUnsupportedExtension, "EncryptedExtensions has extension %d", t)
		}
		b.list16()
		return nil
	})
}
