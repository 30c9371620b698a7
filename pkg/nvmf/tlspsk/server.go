// SPDX-License-Identifier: Apache-2.0

package tlspsk

import (
	"crypto/hmac"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"slices"
)

// Server shakes hands as the server and returns when both ends have proved that they have the same key.
// keys finds the key of an identity; it is called a few times at most, and what it returns is trusted.
// The caller bounds the time by deadlines of conn, and closes conn after an error.
func Server(conn net.Conn, keys func(identity string) (PSK, bool)) (*Conn, error) {
	c := newConn(conn)
	h := &handshake{Conn: c}
	c.readMu.Lock() // nobody knows c yet: this is for the rules of its members only
	defer c.readMu.Unlock()
	if err := h.server(keys); err != nil {
		if err == io.EOF { //nolint:errorlint // readers return it bare
			err = io.ErrUnexpectedEOF
		}
		return nil, c.tell(err)
	}
	return c, nil
}

func (h *handshake) server(keys func(string) (PSK, bool)) error {
	m, err := h.next(clientHelloType, true)
	if err != nil {
		return err
	}
	hello, err := parseClientHello(m)
	if err != nil {
		return err
	}
	if err := hello.judge(); err != nil {
		return err
	}
	key, index, err := hello.choose(m, keys)
	if err != nil {
		return err
	}
	chosen, err := hello.chooseShare()
	if err != nil {
		return err
	}
	own, err := chosen.group.generate()
	if err != nil {
		return err
	}
	shared, err := agree(own, chosen.public)
	if err != nil {
		return err
	}
	h.identity, h.suite, h.transcript = key.Identity, key.Suite, key.Suite.Hash()()
	h.note(m)
	random := make([]byte, randomSize)
	rand.Read(random)
	h.put(message(serverHelloType, func(w *builder) {
		w.u16(legacyVersion)
		w.raw(random)
		w.vector8(hello.session)
		w.u16(int(h.suite))
		w.u8(0)
		w.vector(2, func() {
			w.extension(supportedVersions, func() { w.u16(version13) })
			w.extension(keyShare, func() {
				w.u16(int(chosen.group))
				w.vector16(own.PublicKey().Bytes())
			})
			w.extension(preSharedKey, func() { w.u16(index) })
		})
	}))
	secret := h.suite.handshakeSecret(h.suite.earlySecret(key.Key), shared)
	sum := h.sum()
	fromClient, fromServer := h.suite.derive(secret, "c hs traffic", sum), h.suite.derive(secret, "s hs traffic", sum)
	if err := h.protect(fromClient, fromServer); err != nil {
		return err
	}
	h.raw.protected = true
	h.put(message(encryptedExtensionsType, func(w *builder) { w.vector16(nil) }))
	h.putFinished(fromServer)
	secret = h.suite.masterSecret(secret)
	sum = h.sum()
	if err := h.flush(); err != nil {
		return err
	}
	if err := h.takeFinished(fromClient); err != nil {
		return err
	}
	return h.protect(h.suite.derive(secret, "c ap traffic", sum), h.suite.derive(secret, "s ap traffic", sum))
}

// judge refuses a client that does not offer what there is.
func (h *clientHello) judge() error {
	switch {
	case !slices.Contains(h.versions, version13):
		return fault(AlertProtocolVersion, "the client does not offer TLS 1.3")
	case h.early:
		return fault(AlertHandshakeFailure, "the client sends data before the handshake")
	case len(h.identities) == 0:
		return fault(AlertHandshakeFailure, "the client offers no pre-shared key")
	case !h.seen[keyExchangeModes]:
		return fault(AlertMissingExtension, "the client does not say how it uses keys")
	case !slices.Contains(h.modes, pskDHEKE):
		return fault(AlertHandshakeFailure, "the client wants no Diffie-Hellman exchange")
	case !h.seen[supportedGroups] || !h.seen[keyShare]:
		return fault(AlertMissingExtension, "the client offers no Diffie-Hellman exchange")
	}
	return nil
}

// choose finds the first identity that is known, and checks that the client has its key. Not to know
// any is answered as a wrong key is, after the same work.
func (h *clientHello) choose(m []byte, keys func(string) (PSK, bool)) (PSK, int, error) {
	// What stands in when no identity is known; nobody has it.
	chosen, index, known := PSK{Suite: AES128GCMSHA256, Key: make([]byte, minKeySize)}, 0, false
	rand.Read(chosen.Key)
	for i, identity := range h.identities[:min(len(h.identities), maxIdentities)] {
		key, ok := keys(string(identity))
		if !ok || !slices.Contains(h.suites, int(key.Suite)) {
			continue
		}
		if err := key.validate(); err != nil {
			return PSK{}, 0, fault(AlertInternalError, "%v", err)
		}
		chosen, index, known = key, i, true
		break
	}
	sum := chosen.Suite.Hash()()
	sum.Write(m[:h.truncated])
	want := chosen.Suite.finished(chosen.Suite.binderKey(chosen.Suite.earlySecret(chosen.Key)), sum.Sum(nil))
	if fits := hmac.Equal(h.binders[index], want); !known || !fits {
		reason := "the client does not have the key of " + quote(h.identities[index])
		if !known {
			reason = "the client offers no key that is known here, but " + quote(h.identities[index])
		}
		return PSK{}, 0, fault(AlertDecryptError, "%s", reason)
	}
	return chosen, index, nil
}

// chooseShare takes the client's share that is liked best.
func (h *clientHello) chooseShare() (share, error) {
	for _, g := range offered() {
		for _, s := range h.shares {
			if s.group == g && slices.Contains(h.groups, int(g)) {
				return s, nil
			}
		}
	}
	return share{}, fault(AlertHandshakeFailure, "the client sends a share of neither X25519 nor P-256")
}

// quote shows an identity, which is whatever a stranger sent, in a bounded way.
func quote(identity []byte) string {
	const most = 2*223 + 16
	if len(identity) > most {
		return fmt.Sprintf("%.*q and %d bytes more", most, identity, len(identity)-most)
	}
	return fmt.Sprintf("%q", identity)
}
