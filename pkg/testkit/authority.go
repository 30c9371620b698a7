// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority makes certificates for one test.
type Authority struct {
	tb   testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

// NewAuthority makes a CA.
func NewAuthority(tb testing.TB, name string) *Authority {
	tb.Helper()
	a := &Authority{tb: tb, key: newECDSAKey(tb), file: filepath.Join(tb.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := a.sign(template, template, a.key)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatalf("make a CA: %v", err)
	}
	a.WriteCA(a.file)
	return a
}

// CAFile returns the path of a file with the certificate of the CA.
func (a *Authority) CAFile() string { return a.file }

// WriteCA puts the certificate of the CA in the place of a file.
func (a *Authority) WriteCA(path string) {
	a.tb.Helper()
	replacePEM(a.tb, path, "CERTIFICATE", a.cert.Raw)
}

// Files returns paths for a certificate and its key in a directory of their own.
func (a *Authority) Files() (certFile, keyFile string) {
	a.tb.Helper()
	dir := a.tb.TempDir()
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
}

// Issue makes a certificate for servers (localhost, 127.0.0.1, ::1) and clients (common name), and
// puts it and its key in the place of the files, as a renewal does.
func (a *Authority) Issue(commonName string, serial int64, certFile, keyFile string) {
	a.tb.Helper()
	key := newECDSAKey(a.tb)
	der := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: commonName},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, key)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatalf("make a key: %v", err)
	}
	replacePEM(a.tb, certFile, "CERTIFICATE", der)
	replacePEM(a.tb, keyFile, "PRIVATE KEY", raw)
}

// sign signs with the CA's key a certificate for the public half of key.
func (a *Authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		a.tb.Fatalf("make a certificate: %v", err)
	}
	return der
}

func newECDSAKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("make a key: %v", err)
	}
	return key
}

// replacePEM replaces the file by renaming, so that its inode differs however coarse the clock is.
func replacePEM(tb testing.TB, path, kind string, der []byte) {
	tb.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		tb.Fatalf("write a PEM file: %v", err)
	}
	if err := os.Rename(next, path); err != nil {
		tb.Fatalf("write a PEM file: %v", err)
	}
}
