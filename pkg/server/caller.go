// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// Caller is who makes a request.
type Caller struct {
	// REST says that the request came through the HTTP listener.
	REST bool
	// Certificate is the caller's verified certificate, nil without mTLS.
	Certificate *x509.Certificate
}

// callerKey is the metadata key under which the gateway passes on the certificate of an HTTP client.
// It counts only on the in-process connection, and the gateway takes it from nobody.
const callerKey = "opi-bridge-caller-certificate-bin"

// inProcess is the AuthInfo of the in-process connection.
type inProcess struct{ credentials.CommonAuthInfo }

// AuthType implements credentials.AuthInfo.
func (inProcess) AuthType() string { return "in-process" }

// callerOf returns who makes the gRPC request of that context.
func callerOf(ctx context.Context) Caller {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Caller{}
	}
	switch info := p.AuthInfo.(type) {
	case credentials.TLSInfo:
		return Caller{Certificate: verified(&info.State)}
	case inProcess:
		caller := Caller{REST: true}
		if der := metadata.ValueFromIncomingContext(ctx, callerKey); len(der) == 1 {
			if cert, err := x509.ParseCertificate([]byte(der[0])); err == nil {
				caller.Certificate = cert
			}
		}
		return caller
	}
	return Caller{}
}

// verified returns the peer's certificate if it was checked against a CA.
func verified(state *tls.ConnectionState) *x509.Certificate {
	if state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return nil
	}
	return state.VerifiedChains[0][0]
}

// spoofable says whether a REST client that sends this header would speak for somebody else.
func spoofable(header string) bool {
	return strings.Contains(strings.ToLower(header), "opi-bridge-")
}

// frontCredentials are a server's transport credentials: none on the in-process pipe, which it marks,
// and those of the listener on everything else.
type frontCredentials struct {
	credentials.TransportCredentials
}

func newCredentials(cfg *tls.Config) credentials.TransportCredentials {
	if cfg == nil {
		return frontCredentials{insecure.NewCredentials()}
	}
	return frontCredentials{credentials.NewTLS(cfg)}
}

// ServerHandshake implements credentials.TransportCredentials.
func (c frontCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if _, ok := conn.(pipeConn); ok {
		return conn, inProcess{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
	}
	return c.TransportCredentials.ServerHandshake(conn)
}

// Clone implements credentials.TransportCredentials.
func (c frontCredentials) Clone() credentials.TransportCredentials {
	return frontCredentials{c.TransportCredentials.Clone()}
}
