// SPDX-License-Identifier: Apache-2.0

package tlspsk //nolint:testpackage // it builds messages that no peer builds

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// script is a peer that says what it has to say, whatever it hears, and then nothing.
type script struct {
	io.Reader
	heard bytes.Buffer
}

func said(b []byte) *script { return &script{Reader: bytes.NewReader(b)} }

func (s *script) Write(p []byte) (int, error)      { return s.heard.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return nil }
func (s *script) RemoteAddr() net.Addr             { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// record is one without protection.
func record(t recordType, text []byte) []byte { return (&half{}).seal(nil, t, text) }

// hello returns a good ClientHello for a key, without its record.
func hello(t testing.TB, key PSK) []byte {
	t.Helper()
	s := said(nil)
	if _, err := Client(s, key); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	return s.heard.Bytes()[recordHeader:]
}

// TestHostileClients: each is told why, and none gets in.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	key := someKey(AES128GCMSHA256)
	good := hello(t, key)
	change := func(old, by []byte) []byte {
		if bytes.Count(good, old) != 1 {
			t.Fatalf("%x is %d times in the hello", old, bytes.Count(good, old))
		}
		return record(recordHandshake, bytes.Replace(good, old, by, 1))
	}
	huge := append([]byte{1, 0xff, 0xff, 0xff}, good...)
	tail := slices.Clone(good)
	tail = append(tail, 0)
	for name, c := range map[string]struct {
		bytes  []byte
		alert  Alert
		reason string
	}{
		"HTTP":            {[]byte("GET / HTTP/1.1\r\n\r\n"), AlertUnexpectedMessage, "not TLS"},
		"NVMe":            {append([]byte{0, 0, 128, 0, 128}, make([]byte, 123)...), AlertUnexpectedMessage, "not TLS"},
		"version":         {[]byte{22, 9, 9, 0, 1, 0}, AlertProtocolVersion, "version 9.9"},
		"long record":     {[]byte{22, 3, 3, 0x40, 1}, AlertRecordOverflow, "16385 bytes"},
		"empty record":    {record(recordHandshake, nil), AlertUnexpectedMessage, "0 bytes"},
		"data first":      {record(recordData, []byte("x")), AlertUnexpectedMessage, "type 23"},
		"huge message":    {record(recordHandshake, huge), AlertDecodeError, "16777219 bytes"},
		"other message":   {record(recordHandshake, append([]byte{2}, good[1:]...)), AlertUnexpectedMessage, "want 1"},
		"more after":      {record(recordHandshake, tail), AlertUnexpectedMessage, "changes keys"},
		"dummies":         {bytes.Repeat(record(recordChangeCipherSpec, []byte{1}), maxDummies+1), AlertUnexpectedMessage, "mean nothing"},
		"bad dummy":       {record(recordChangeCipherSpec, []byte{2}), AlertUnexpectedMessage, "type 20"},
		"bad alert":       {record(recordAlert, []byte{2}), AlertDecodeError, "alert"},
		"only TLS 1.2":    {change([]byte{0, 43, 0, 3, 2, 3, 4}, []byte{0, 43, 0, 3, 2, 3, 3}), AlertProtocolVersion, "TLS 1.3"},
		"only psk_ke":     {change([]byte{0, 45, 0, 2, 1, 1}, []byte{0, 45, 0, 2, 1, 0}), AlertHandshakeFailure, "Diffie-Hellman"},
		"no modes":        {change([]byte{0, 45, 0, 2, 1, 1}, []byte{0, 99, 0, 2, 1, 1}), AlertMissingExtension, "uses keys"},
		"no groups":       {change([]byte{0, 10, 0, 6}, []byte{0, 99, 0, 6}), AlertMissingExtension, "Diffie-Hellman"},
		"early data":      {change([]byte{0, 10, 0, 6, 0, 4, 0, 0x1d, 0, 0x17}, []byte{0, 42, 0, 0, 0, 99, 0, 2, 0, 0}), AlertHandshakeFailure, "before the handshake"},
		"twice":           {change([]byte{0, 45, 0, 2, 1, 1}, []byte{0, 43, 0, 2, 1, 1}), AlertIllegalParameter, "twice"},
		"key not last":    {change([]byte{0, 10, 0, 6}, []byte{0, 41, 0, 6}), AlertIllegalParameter, "not the last"},
		"no key":          {change([]byte{0, 41}, []byte{0, 98}), AlertHandshakeFailure, "no pre-shared key"},
		"other binder":    {record(recordHandshake, append(slices.Clone(good[:len(good)-1]), good[len(good)-1]^1)), AlertDecryptError, "does not have"},
		"other hello":     {record(recordHandshake, append(slices.Clone(good[:10]), append([]byte{good[10] ^ 1}, good[11:]...)...)), AlertDecryptError, "does not have"},
		"compression":     {change([]byte{0, 2, 0x13, 1, 1, 0}, []byte{0, 2, 0x13, 1, 1, 1}), AlertIllegalParameter, "compression"},
		"share of zeros":  {resigned(t, key, good), AlertIllegalParameter, "public key"},
		"peer complained": {record(recordAlert, []byte{2, byte(AlertInternalError)}), AlertInternalError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := said(c.bytes)
			_, err := Server(s, only(key))
			var e *Error
			if !errors.As(err, &e) || e.Alert != c.alert || !strings.Contains(e.Reason, c.reason) {
				t.Fatalf("got %v, want %v with %q", err, c.alert, c.reason)
			}
			if h := s.heard.Bytes(); !e.Remote && (len(h) != 7 || h[6] != byte(c.alert)) {
				t.Errorf("the client was told %x", h)
			}
		})
	}
}

// resigned is a hello whose X25519 share is a point of low order, with a binder that fits.
func resigned(t *testing.T, key PSK, good []byte) []byte {
	t.Helper()
	b := slices.Clone(good)
	at := bytes.Index(b, []byte{0, 0x1d, 0, 32})
	if at < 0 {
		t.Fatal("no share")
	}
	clear(b[at+4 : at+36])
	s := key.Suite
	n := len(b) - s.hashSize()
	sum := s.Hash()()
	sum.Write(b[:n-3])
	copy(b[n:], s.finished(s.binderKey(s.earlySecret(key.Key)), sum.Sum(nil)))
	return record(recordHandshake, b)
}

// TestHostileServers: a client takes nothing that it did not offer.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	key := someKey(AES128GCMSHA256)
	share := append([]byte{0, 51, 0, 36, 0, 0x1d, 0, 32}, bytes.Repeat([]byte{9}, 32)...)
	version, psk := []byte{0, 43, 0, 2, 3, 4}, []byte{0, 41, 0, 2, 0, 0}
	build := func(random byte, session []byte, suite int, extensions ...[]byte) []byte {
		return record(recordHandshake, message(serverHelloType, func(w *builder) {
			w.u16(legacyVersion)
			if random == 0 {
				w.raw(retryRandom[:])
			} else {
				w.raw(bytes.Repeat([]byte{random}, randomSize))
			}
			w.vector8(session)
			w.u16(suite)
			w.u8(0)
			w.vector16(bytes.Join(extensions, nil))
		}))
	}
	for name, c := range map[string]struct {
		bytes  []byte
		alert  Alert
		reason string
	}{
		"TLS 1.2":       {build(1, nil, 0xc02f, []byte{0xff, 1, 0, 1, 0}), AlertUnsupportedExtension, "extension 65281"},
		"no extensions": {build(1, nil, 0x1301), AlertProtocolVersion, "TLS 1.3"},
		"TLS 1.2 named": {build(1, nil, 0x1301, []byte{0, 43, 0, 2, 3, 3}, share, psk), AlertProtocolVersion, "TLS 1.3"},
		"retry":         {build(0, nil, 0x1301, version, []byte{0, 51, 0, 2, 0, 0x18}), AlertIllegalParameter, "neither"},
		"session":       {build(1, []byte{1}, 0x1301, version, share, psk), AlertIllegalParameter, "session"},
		"suite":         {build(1, nil, 0x1302, version, share, psk), AlertIllegalParameter, "AES_256"},
		"certificates":  {build(1, nil, 0x1301, version, share), AlertHandshakeFailure, "did not take the key"},
		"other key":     {build(1, nil, 0x1301, version, share, []byte{0, 41, 0, 2, 0, 1}), AlertIllegalParameter, "key 2 of 1"},
		"psk_ke":        {build(1, nil, 0x1301, version, psk), AlertMissingExtension, "Diffie-Hellman"},
		"group":         {build(1, nil, 0x1301, version, []byte{0, 51, 0, 5, 0, 0x18, 0, 1, 4}, psk), AlertIllegalParameter, "group"},
		"zero share":    {build(1, nil, 0x1301, version, append(slices.Clone(share[:8]), make([]byte, 32)...), psk), AlertIllegalParameter, "public key"},
		"no key":        {append(build(1, nil, 0x1301, version, share, psk), record(recordData, make([]byte, 40))...), AlertBadRecordMAC, "sealed"},
		"in the clear":  {append(build(1, nil, 0x1301, version, share, psk), record(recordHandshake, []byte{8, 0, 0, 2, 0, 0})...), AlertUnexpectedMessage, "without protection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Client(said(c.bytes), key)
			var e *Error
			if !errors.As(err, &e) || e.Alert != c.alert || !strings.Contains(e.Reason, c.reason) {
				t.Fatalf("got %v, want %v with %q", err, c.alert, c.reason)
			}
		})
	}
}

// TestHostileRecords: what comes after the handshake.
func TestHostileRecords(t *testing.T) {
	t.Parallel()
	update := message(keyUpdateType, func(w *builder) { w.u8(0) })
	for name, c := range map[string]struct {
		send   func(c *Conn) []byte
		alert  Alert
		reason string
	}{
		"changed":      {func(c *Conn) []byte { b := c.out.seal(nil, recordData, []byte("x")); b[7] ^= 1; return b }, AlertBadRecordMAC, "sealed"},
		"again":        {func(c *Conn) []byte { b := c.out.seal(nil, recordData, []byte("x")); return append(b, b...) }, AlertBadRecordMAC, "sealed"},
		"end in clear": {func(*Conn) []byte { return record(recordAlert, []byte{1, 0}) }, AlertUnexpectedMessage, "without protection"},
		"dummy":        {func(*Conn) []byte { return record(recordChangeCipherSpec, []byte{1}) }, AlertUnexpectedMessage, "type 20"},
		"long record":  {func(*Conn) []byte { return []byte{23, 3, 3, 0x41, 1} }, AlertRecordOverflow, "16641 bytes"},
		"long text":    {func(c *Conn) []byte { return c.out.seal(nil, recordData, make([]byte, maxText+1)) }, AlertRecordOverflow, "16385 bytes"},
		"only padding": {func(c *Conn) []byte { return c.out.seal(nil, 0, make([]byte, 9)) }, AlertUnexpectedMessage, "without a type"},
		"empty records": {func(c *Conn) []byte {
			return many(maxIdle+1, func(b []byte) []byte { return c.out.seal(b, recordData, nil) })
		}, AlertUnexpectedMessage, "without data"},
		"updates": {func(c *Conn) []byte {
			return many(maxIdle+1, func(b []byte) []byte {
				b = c.out.seal(b, recordHandshake, update)
				_ = c.out.update()
				return b
			})
		}, AlertUnexpectedMessage, "without data"},
		"bad update":    {func(c *Conn) []byte { return c.out.seal(nil, recordHandshake, []byte{24, 0, 0, 1, 2}) }, AlertIllegalParameter, "KeyUpdate"},
		"update and":    {func(c *Conn) []byte { return c.out.seal(nil, recordHandshake, append(update, update...)) }, AlertUnexpectedMessage, "last of its record"},
		"new handshake": {func(c *Conn) []byte { return c.out.seal(nil, recordHandshake, []byte{1, 0, 0, 0}) }, AlertUnexpectedMessage, "type 1"},
		"within message": {func(c *Conn) []byte {
			return c.out.seal(c.out.seal(nil, recordHandshake, update[:2]), recordData, []byte("x"))
		}, AlertUnexpectedMessage, "within"},
		"bad alert": {func(c *Conn) []byte { return c.out.seal(nil, recordAlert, []byte{1, 0, 0}) }, AlertDecodeError, "3 bytes"},
		"cut off":   {func(c *Conn) []byte { return c.out.seal(nil, recordData, []byte("x"))[:9] }, AlertCloseNotify, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := connected(t, AES128GCMSHA256)
			if _, err := client.conn.Write(c.send(client)); err != nil {
				t.Fatal(err)
			}
			client.conn.Close()
			_, err := io.ReadAll(server)
			var e *Error
			if c.reason == "" {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("got %v, want an unexpected end", err)
				}
			} else if !errors.As(err, &e) || e.Alert != c.alert || !strings.Contains(e.Reason, c.reason) {
				t.Errorf("got %v, want %v with %q", err, c.alert, c.reason)
			}
			if _, again := server.Read(make([]byte, 1)); again == nil || again.Error() != err.Error() {
				t.Errorf("the next read: %v", again)
			}
		})
	}
}

func many(n int, more func([]byte) []byte) []byte {
	var b []byte
	for range n {
		b = more(b)
	}
	return b
}

// FuzzServer: whatever a client says, a server without its key does not panic and lets nobody in.
func FuzzServer(f *testing.F) {
	key := someKey(AES128GCMSHA256)
	good := hello(f, key)
	f.Add(record(recordHandshake, good))
	f.Add(append(record(recordHandshake, good[:40]), record(recordHandshake, good[40:])...))
	f.Add([]byte{22, 3, 3, 0, 4, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Server(said(b), only(key)); err == nil {
			t.Fatal("somebody got in")
		}
	})
}

// FuzzClient: whatever a server says.
func FuzzClient(f *testing.F) {
	key := someKey(AES256GCMSHA384)
	f.Add([]byte{22, 3, 3, 0, 4, 2, 0, 0, 0})
	f.Add(record(recordAlert, []byte{2, 40}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Client(said(b), key); err == nil {
			t.Fatal("somebody got in")
		}
	})
}

// FuzzHello: messages are read as they were written, or refused.
func FuzzHello(f *testing.F) {
	f.Add(hello(f, someKey(AES128GCMSHA256)), true)
	f.Add([]byte{2, 0, 0, 0}, false)
	f.Fuzz(func(t *testing.T, m []byte, client bool) {
		if len(m) < messageHeader {
			return
		}
		if client {
			if h, err := parseClientHello(m); err == nil && (h.truncated > len(m) || len(h.binders) != len(h.identities)) {
				t.Fatalf("%+v", h)
			}
			return
		}
		_, _ = parseServerHello(m)
		_ = checkEncryptedExtensions(m)
	})
}
