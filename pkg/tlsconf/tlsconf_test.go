// SPDX-License-Identifier: Apache-2.0

package tlsconf_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/pkg/tlsconf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shake makes one connection and returns the serial number of the server's certificate.
func shake(t *testing.T, server, client *tls.Config) (int64, error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, err = io.CopyN(conn, conn, 1)
			_ = conn.Close()
		}
		done <- err
	}()
	serial, err := ask(t, listener.Addr().String(), client)
	serverErr := <-done
	_ = listener.Close()
	if err != nil {
		return 0, err
	}
	return serial, serverErr
}

// ask sends one byte and waits for it: under TLS 1.3 a client learns only then that it was refused.
func ask(t *testing.T, addr string, client *tls.Config) (int64, error) {
	t.Helper()
	raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(raw, client)
	if _, err := conn.Write([]byte{1}); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return 0, err
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestServerReloads(t *testing.T) {
	ca, other := testkit.NewAuthority(t, "ca"), testkit.NewAuthority(t, "other")
	cert, key := ca.Files()
	ca.Issue("server", 10, cert, key)
	var log bytes.Buffer
	server, err := tlsconf.Server(tlsconf.ServerConfig{
		CertFile: cert, KeyFile: key, MinVersion: "1.3", Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(t, tlsconf.ClientConfig{CAFile: ca.CAFile()})
	check := func(step string, want int64) {
		t.Helper()
		if got, err := shake(t, server, config(t, client, "localhost")); err != nil || got != want {
			t.Errorf("%s: serial %d, %v; want %d", step, got, err, want)
		}
	}
	check("at first", 10)
	ca.Issue("server", 11, cert, key)
	check("renewed", 11)
	_, unpaired := ca.Files()
	other.Issue("server", 12, cert, unpaired)
	check("certificate without its key", 11)
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	check("certificate removed", 11)
	ca.Issue("server", 13, cert, key)
	check("right again", 13)
	for _, want := range []string{"read again", "are wrong", "cannot be read", cert} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
}

func TestMutual(t *testing.T) {
	ca, other := testkit.NewAuthority(t, "ca"), testkit.NewAuthority(t, "other")
	cert, key := ca.Files()
	ca.Issue("server", 1, cert, key)
	clientCert, clientKey := ca.Files()
	ca.Issue("client", 2, clientCert, clientKey)
	otherCert, otherKey := ca.Files()
	other.Issue("client", 3, otherCert, otherKey)
	clientCA := filepath.Join(t.TempDir(), "client-ca.pem")
	ca.WriteCA(clientCA)
	server, err := tlsconf.Server(tlsconf.ServerConfig{
		CertFile: cert, KeyFile: key, ClientCAFile: clientCA, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	with := newClient(t, tlsconf.ClientConfig{CAFile: ca.CAFile(), CertFile: clientCert, KeyFile: clientKey})
	without := newClient(t, tlsconf.ClientConfig{CAFile: ca.CAFile()})
	stranger := newClient(t, tlsconf.ClientConfig{CAFile: ca.CAFile(), CertFile: otherCert, KeyFile: otherKey})
	distrusting := newClient(t, tlsconf.ClientConfig{CAFile: other.CAFile(), CertFile: clientCert, KeyFile: clientKey})
	check := func(step string, c *tlsconf.Client, name string, ok bool) {
		t.Helper()
		if _, err := shake(t, server, config(t, c, name)); (err == nil) != ok {
			t.Errorf("%s: %v, want success %t", step, err, ok)
		}
	}
	check("certificate of the CA", with, "localhost", true)
	check("no certificate", without, "localhost", false)
	check("certificate of another CA", stranger, "localhost", false)
	check("the client does not trust the server", distrusting, "localhost", false)
	check("the server has another name", with, "elsewhere", false)
	other.WriteCA(clientCA)
	check("the CA was taken away", with, "localhost", false)
	check("the other CA was let in", stranger, "localhost", true)
	ca.Issue("client", 4, otherCert, otherKey)
	check("the client's new certificate is of the old CA", stranger, "localhost", false)
	if err := os.Remove(otherCert); err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Config("localhost"); err == nil || !strings.Contains(err.Error(), otherCert) {
		t.Errorf("a client whose certificate is gone: %v", err)
	}
}

func TestMinVersion(t *testing.T) {
	ca := testkit.NewAuthority(t, "ca")
	cert, key := ca.Files()
	ca.Issue("server", 1, cert, key)
	for _, row := range []struct {
		least tlsconf.MinVersion
		ok    bool
	}{{"", true}, {"1.2", true}, {"1.3", false}} {
		server, err := tlsconf.Server(tlsconf.ServerConfig{
			CertFile: cert, KeyFile: key, MinVersion: row.least, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		client := config(t, newClient(t, tlsconf.ClientConfig{CAFile: ca.CAFile()}), "localhost")
		client.MaxVersion = tls.VersionTLS12
		if _, err := shake(t, server, client); (err == nil) != row.ok {
			t.Errorf("minimum %q against a client of TLS 1.2: %v", row.least, err)
		}
	}
}

func TestRefusedNamesFile(t *testing.T) {
	ca := testkit.NewAuthority(t, "ca")
	cert, key := ca.Files()
	ca.Issue("server", 1, cert, key)
	junk := filepath.Join(t.TempDir(), "junk")
	huge := filepath.Join(t.TempDir(), "huge")
	for path, size := range map[string]int{junk: 10, huge: 5 << 20} {
		if err := os.WriteFile(path, bytes.Repeat([]byte{'x'}, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	for _, row := range []struct {
		cfg  tlsconf.ServerConfig
		want string
	}{
		{tlsconf.ServerConfig{Log: log}, "certificate file"},
		{tlsconf.ServerConfig{CertFile: cert, KeyFile: key}, "logger"},
		{tlsconf.ServerConfig{CertFile: cert, KeyFile: junk, Log: log}, junk},
		{tlsconf.ServerConfig{CertFile: huge, KeyFile: key, Log: log}, huge},
		{tlsconf.ServerConfig{CertFile: cert + "-none", KeyFile: key, Log: log}, cert + "-none"},
		{tlsconf.ServerConfig{CertFile: cert, KeyFile: key, ClientCAFile: junk, Log: log}, junk},
		{tlsconf.ServerConfig{CertFile: cert, KeyFile: key, MinVersion: "1.1", Log: log}, `"1.1"`},
	} {
		if _, err := tlsconf.Server(row.cfg); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("server %+v: %v, want it to say %s", row.cfg, err, row.want)
		}
	}
	for _, row := range []struct {
		cfg  tlsconf.ClientConfig
		want string
	}{
		{tlsconf.ClientConfig{CAFile: junk}, junk},
		{tlsconf.ClientConfig{CertFile: cert}, "key file too"},
		{tlsconf.ClientConfig{KeyFile: key}, "certificate file too"},
		{tlsconf.ClientConfig{MinVersion: "2"}, `"2"`},
	} {
		if _, err := tlsconf.NewClient(row.cfg); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("client %+v: %v, want it to say %s", row.cfg, err, row.want)
		}
	}
}

func newClient(t *testing.T, cfg tlsconf.ClientConfig) *tlsconf.Client {
	t.Helper()
	c, err := tlsconf.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func config(t *testing.T, c *tlsconf.Client, name string) *tls.Config {
	t.Helper()
	out, err := c.Config(name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
