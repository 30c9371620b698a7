// SPDX-License-Identifier: Apache-2.0

package tlspsk //nolint:testpackage // key updates are made to come early

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func someKey(s Suite) PSK {
	key := make([]byte, s.hashSize())
	rand.Read(key)
	return PSK{Identity: "NVMe0R01 nqn.2014-08.org.nvmexpress:uuid:x nqn.2016-06.io.spdk:y", Suite: s, Key: key}
}

func only(key PSK) func(string) (PSK, bool) {
	return func(identity string) (PSK, bool) { return key, identity == key.Identity }
}

// tcp returns both ends of a connection.
func tcp(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{a, b} {
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// shake shakes hands over a connection, with what each end has.
func shake(a, b net.Conn, client PSK, keys func(string) (PSK, bool)) (c, s *Conn, clientErr, serverErr error) {
	var both sync.WaitGroup
	both.Go(func() {
		if s, serverErr = Server(b, keys); serverErr != nil {
			b.Close()
		}
	})
	if c, clientErr = Client(a, client); clientErr != nil {
		a.Close()
	}
	both.Wait()
	return c, s, clientErr, serverErr
}

func connected(t testing.TB, suite Suite) (client, server *Conn) {
	t.Helper()
	a, b := tcp(t)
	key := someKey(suite)
	client, server, e1, e2 := shake(a, b, key, only(key))
	if err := errors.Join(e1, e2); err != nil {
		t.Fatal(err)
	}
	if server.Identity() != key.Identity || server.Suite() != suite || client.Suite() != suite {
		t.Fatalf("server has %q, %s", server.Identity(), server.Suite())
	}
	return client, server
}

// TestTransfer sends data both ways at once in pieces of all sizes, over many key updates, and ends it.
func TestTransfer(t *testing.T) {
	t.Parallel()
	for _, suite := range []Suite{AES128GCMSHA256, AES256GCMSHA384} {
		t.Run(suite.String(), func(t *testing.T) {
			t.Parallel()
			client, server := connected(t, suite)
			client.rekey, server.rekey = 7, 5
			data := make([]byte, 1<<20)
			rand.Read(data)
			var all sync.WaitGroup
			for _, ends := range [][2]*Conn{{client, server}, {server, client}} {
				all.Go(func() {
					rest := data
					for size := 1; len(rest) > 0; size = size*3 + 1 {
						n := min(size, len(rest), 300_000)
						if _, err := ends[0].WriteBuffers([][]byte{rest[:n/2], nil, rest[n/2 : n]}); err != nil {
							t.Errorf("write: %v", err)
							return
						}
						rest = rest[n:]
					}
					if err := ends[0].CloseWrite(); err != nil {
						t.Error(err)
					}
				})
				all.Go(func() {
					if got, err := io.ReadAll(ends[1]); err != nil || !bytes.Equal(got, data) {
						t.Errorf("read %d of %d bytes: %v", len(got), len(data), err)
					}
				})
			}
			all.Wait()
			if _, err := client.Write([]byte("more")); !errors.Is(err, errClosed) {
				t.Errorf("write after the end: %v", err)
			}
		})
	}
}

// TestUpdateOnRequest: who is asked for new keys has them before the next data.
func TestUpdateOnRequest(t *testing.T) {
	t.Parallel()
	client, server := connected(t, AES128GCMSHA256)
	old := server.out.secret
	client.sealed = client.out.seal(nil, recordHandshake, message(keyUpdateType, func(w *builder) { w.u8(1) }))
	if err := errors.Join(client.out.update(), client.send()); err != nil {
		t.Fatal(err)
	}
	for _, ends := range [][2]*Conn{{client, server}, {server, client}, {client, server}} {
		b := make([]byte, 5)
		if _, err := ends[0].Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(ends[1], b); err != nil || string(b) != "hello" {
			t.Fatalf("%q: %v", b, err)
		}
	}
	if bytes.Equal(old, server.out.secret) {
		t.Error("the server kept its keys")
	}
}

// TestTicketsAreThrownAway: servers send them unasked.
func TestTicketsAreThrownAway(t *testing.T) {
	t.Parallel()
	client, server := connected(t, AES128GCMSHA256)
	ticket := message(newSessionTicketType, func(w *builder) { w.raw(make([]byte, 700)) })
	server.sealed = server.out.seal(nil, recordHandshake, append(ticket, ticket[:100]...))
	server.sealed = server.out.seal(server.sealed, recordHandshake, ticket[100:])
	if _, err := server.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(client, b); err != nil || string(b) != "hello" {
		t.Fatalf("%q: %v", b, err)
	}
}

// TestDeadline: a read can be tried again after its deadline.
func TestDeadline(t *testing.T) {
	t.Parallel()
	client, server := connected(t, AES128GCMSHA256)
	if err := client.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := client.Read(b); !isTimeout(err) {
		t.Fatal(err)
	}
	if _, err := server.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := client.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, b); err != nil || string(b) != "hello" {
		t.Fatalf("%q: %v", b, err)
	}
}

// TestRefusals: what does not fit is refused by both ends, and no error tells a key.
func TestRefusals(t *testing.T) {
	t.Parallel()
	key := someKey(AES128GCMSHA256)
	other := someKey(AES128GCMSHA256)
	stranger := someKey(AES128GCMSHA256)
	stranger.Identity = "NVMe0R01 stranger " + strings.Repeat("x", 2000)
	long := someKey(AES256GCMSHA384)
	for name, c := range map[string]struct {
		client PSK
		alert  Alert
		reason string
	}{
		"wrong key":        {other, AlertDecryptError, "does not have the key"},
		"unknown identity": {stranger, AlertDecryptError, "no key that is known"},
		"other suite":      {long, AlertDecryptError, "no key that is known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := tcp(t)
			_, _, clientErr, serverErr := shake(a, b, c.client, only(key))
			var mine, theirs *Error
			if !errors.As(serverErr, &mine) || mine.Remote || mine.Alert != c.alert || !strings.Contains(mine.Reason, c.reason) {
				t.Errorf("server: %v", serverErr)
			}
			if !errors.As(clientErr, &theirs) || !theirs.Remote || theirs.Alert != c.alert {
				t.Errorf("client: %v", clientErr)
			}
			for _, err := range []error{clientErr, serverErr} {
				if s := err.Error(); len(s) > 1000 || strings.Contains(s, string(key.Key)) {
					t.Errorf("%d bytes of error: %s", len(s), s)
				}
			}
		})
	}
	for _, bad := range []PSK{
		{Identity: "x", Suite: AES128GCMSHA256, Key: make([]byte, minKeySize-1)},
		{Suite: AES128GCMSHA256, Key: make([]byte, 32)},
		{Identity: "x", Suite: 0x1303, Key: make([]byte, 32)},
	} {
		if _, err := Client(nil, bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
	if s := key.String(); strings.Contains(s, string(key.Key)) || strings.Contains(key.GoString(), string(key.Key)) {
		t.Error("a key prints")
	}
}
