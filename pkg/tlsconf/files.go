// SPDX-License-Identifier: Apache-2.0

// Package tlsconf builds TLS settings from files in PEM: for servers, with or without certificates
// of clients (mTLS), and for clients. Files that changed are read again at the next handshake, so a
// certificate is renewed by replacing its files; connections that stand keep what they have.
package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxFileBytes bounds what is read from one file. A bundle of all public CAs has about 250 KiB.
const maxFileBytes = 4 << 20

// MinVersion names the oldest protocol version that is accepted: "1.2" or "1.3". Empty is "1.2".
type MinVersion string

func (m MinVersion) number() (uint16, error) {
	switch m {
	case "", "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("minimum TLS version %q: expected 1.2 or 1.3", string(m))
}

// stamp tells whether a set of files is still the one that was read.
type stamp []os.FileInfo

// stampOf looks at each path, of which empty ones are skipped.
func stampOf(paths ...string) (stamp, error) {
	var s stamp
	for _, path := range paths {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("TLS file: %w", err)
		}
		s = append(s, info)
	}
	return s, nil
}

func (s stamp) equal(o stamp) bool {
	if len(s) != len(o) {
		return false
	}
	for i := range s {
		if !os.SameFile(s[i], o[i]) || s[i].Size() != o[i].Size() || !s[i].ModTime().Equal(o[i].ModTime()) {
			return false
		}
	}
	return true
}

// loadPair reads a certificate chain and its key. Both or neither must be named; neither gives nil.
func loadPair(certFile, keyFile string) (*tls.Certificate, error) {
	switch {
	case certFile == "" && keyFile == "":
		return nil, nil
	case certFile == "":
		return nil, fmt.Errorf("TLS key file %s: name the certificate file too", keyFile)
	case keyFile == "":
		return nil, fmt.Errorf("TLS certificate file %s: name the key file too", certFile)
	}
	cert, err := read(certFile)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate file: %w", err)
	}
	key, err := read(keyFile)
	if err != nil {
		return nil, fmt.Errorf("TLS key file: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate file %s with key file %s: %w", certFile, keyFile, err)
	}
	return &pair, nil
}

// loadPool reads CA certificates. An empty path gives nil.
func loadPool(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("TLS CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("TLS CA file %s: no certificate in PEM is in it", path)
	}
	return pool, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the path is the operator's
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFileBytes {
		return nil, errors.New(path + ": too large for a file of certificates")
	}
	return b, nil
}
