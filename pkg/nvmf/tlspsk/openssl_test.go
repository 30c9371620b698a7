// SPDX-License-Identifier: Apache-2.0

package tlspsk //nolint:testpackage // key updates are made to come early

import (
	"bufio"
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// OpenSSL's s_client and s_server are the other end here. Both send what they read, and print what
// comes; a line "K" has s_client ask for new keys.

var suites = []Suite{AES128GCMSHA256, AES256GCMSHA384}

// keyOptions are what OpenSSL is told of a key: as a session, for with -psk alone it knows SHA-256 only.
func keyOptions(t *testing.T, key PSK) []string {
	t.Helper()
	if key.Suite == AES128GCMSHA256 {
		return []string{"-psk", hex.EncodeToString(key.Key), "-psk_identity", key.Identity}
	}
	// SSL_SESSION as OpenSSL stores it.
	der, err := asn1.Marshal(struct {
		Version, Protocol       int
		Cipher, Session, Secret []byte
		Time                    int64 `asn1:"explicit,tag:1"`
		Timeout                 int   `asn1:"explicit,tag:2"`
	}{1, 0x0304, []byte{byte(key.Suite >> 8), byte(key.Suite)}, []byte{}, key.Key, time.Now().Unix(), 7200})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "session.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "SSL SESSION PARAMETERS", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"-psk_session", file, "-psk_identity", key.Identity}
}

// peer is a running OpenSSL.
type peer struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
	all *bytes.Buffer // what was read of out
}

func openssl(t *testing.T, args ...string) *peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, "openssl", args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatalf("openssl is needed (make test-needs): %v", err)
	}
	p := &peer{t: t, in: in, all: &bytes.Buffer{}}
	p.out = bufio.NewReader(io.TeeReader(r, p.all))
	t.Cleanup(func() {
		cancel()
		_ = r.Close()
		_ = cmd.Wait()
	})
	return p
}

// wait reads until a line contains text, and returns the line.
func (p *peer) wait(text string) string {
	p.t.Helper()
	for {
		line, err := p.out.ReadString('\n')
		for noise := "Read BLOCK\n"; err == nil && strings.HasSuffix(line, noise); { // said after a key update, anywhere
			var more string
			more, err = p.out.ReadString('\n')
			line = strings.TrimSuffix(line, noise) + more
		}
		if strings.Contains(line, text) {
			return line
		}
		if err != nil {
			p.t.Fatalf("openssl never said %q: %v, but\n%s", text, err, p.all)
		}
	}
}

// talk sends data both ways, over key updates of ours, and of OpenSSL's if it asks for them, and ends the
// connection.
func talk(t *testing.T, c *Conn, p *peer, asks bool) {
	t.Helper()
	c.rekey = 5
	want := strings.Repeat("all the world's a stage, ", 8000) // a dozen records
	for range 2 {
		if _, err := io.WriteString(c, want+"\n"); err != nil {
			t.Fatal(err)
		}
		if line := p.wait("all the world's"); line != want+"\n" {
			t.Fatalf("%d bytes arrived, want %d", len(line), len(want)+1)
		}
		in := bufio.NewReader(c)
		for _, line := range []string{"hello\n", "again\n"} {
			if _, err := io.WriteString(p.in, line); err != nil {
				t.Fatal(err)
			}
			if got, err := in.ReadString('\n'); err != nil || got != line {
				t.Fatalf("%q arrived, want %q: %v", got, line, err)
			}
			if asks {
				if _, err := io.WriteString(p.in, "K\n"); err != nil {
					t.Fatal(err)
				}
				p.wait("KEYUPDATE")
			}
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestAgainstServer: we are the client.
func TestAgainstServer(t *testing.T) {
	t.Parallel()
	for _, suite := range suites {
		t.Run(suite.String(), func(t *testing.T) {
			t.Parallel()
			key := someKey(suite)
			args := []string{"s_server", "-accept", "127.0.0.1:0", "-tls1_3", "-nocert", "-ciphersuites", suite.String()}
			p := openssl(t, append(args, keyOptions(t, key)...)...)
			_, at, _ := strings.Cut(strings.TrimSpace(p.wait("ACCEPT")), " ")

			wrong := key
			wrong.Key = append([]byte{key.Key[0] ^ 1}, key.Key[1:]...)
			stranger := key
			stranger.Identity = "somebody else"
			for name, bad := range map[string]PSK{"wrong key": wrong, "unknown identity": stranger} {
				if c, err := Client(dial(t, at), bad); err == nil {
					t.Errorf("%s is accepted", name)
					_ = c.Close()
				}
			}
			c, err := Client(dial(t, at), key)
			if err != nil {
				t.Fatalf("%v; openssl says\n%s", err, p.all)
			}
			talk(t, c, p, false)
		})
	}
}

func dial(t *testing.T, at string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAgainstClient: we are the server; the groups are those that are supported.
func TestAgainstClient(t *testing.T) {
	t.Parallel()
	for _, suite := range suites {
		for _, groups := range []string{"X25519:P-384", "P-256"} {
			t.Run(suite.String()+" "+groups, func(t *testing.T) {
				t.Parallel()
				key := someKey(suite)
				c, p, err := accept(t, key, append(keyOptions(t, key), "-tls1_3", "-groups", groups)...)
				if err != nil {
					t.Fatal(err)
				}
				talk(t, c, p, true)
			})
		}
	}
}

// TestClientsThatAreRefused: each wants something that is not there.
func TestClientsThatAreRefused(t *testing.T) {
	t.Parallel()
	key := someKey(AES128GCMSHA256)
	other := someKey(AES128GCMSHA256)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"old version":   {append(keyOptions(t, key), "-tls1_2"), "TLS 1.3"},
		"no key":        {[]string{"-tls1_3"}, "no pre-shared key"},
		"other key":     {append(keyOptions(t, other), "-tls1_3"), "does not have the key"},
		"other group":   {append(keyOptions(t, key), "-tls1_3", "-groups", "P-384"), "neither X25519 nor P-256"},
		"no own suites": {append(keyOptions(t, key), "-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"), "no key that is known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := accept(t, key, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// accept serves one s_client.
func accept(t *testing.T, key PSK, args ...string) (*Conn, *peer, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := openssl(t, append([]string{"s_client", "-connect", l.Addr().String()}, args...)...)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c, err := Server(conn, func(identity string) (PSK, bool) { return key, identity == key.Identity })
	return c, p, err
}
