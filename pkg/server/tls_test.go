// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/server"
)

// authority makes certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	pair := a.sign(t, "ca")
	a.cert, a.pool = pair.Leaf, x509.NewCertPool()
	a.pool.AddCert(a.cert)
	return a
}

// sign returns a certificate for 127.0.0.1 of that name; the first one is the authority's own.
func (a *authority) sign(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: a.cert == nil,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer, a.key = template, key, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// With mTLS the authorization hook sees the caller's certificate, whichever way the call came, and no
// header can put another in its place.
func TestAuthorizationSeesTheCaller(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	seen := make(chan server.Caller, 1)
	r := start(t, func(cfg *server.Config) {
		cfg.TLS = &tls.Config{
			Certificates: []tls.Certificate{a.sign(t, "server")}, MinVersion: tls.VersionTLS13,
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool,
		}
		cfg.Authorize = func(_ context.Context, caller server.Caller, method string) error {
			seen <- caller
			return errdefs.New(errdefs.PermissionDenied, "%s is not for you", method)
		}
	})
	client := &tls.Config{RootCAs: a.pool, Certificates: []tls.Certificate{a.sign(t, "operator-1")}, MinVersion: tls.VersionTLS13}
	forged := string(a.sign(t, "admin").Leaf.Raw)

	conn := r.dial(t, grpc.WithTransportCredentials(credentials.NewTLS(client)))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "opi-bridge-caller-certificate-bin", forged)
	_, err := pb.NewNullVolumeServiceClient(conn).GetNullVolume(ctx, &pb.GetNullVolumeRequest{})
	if !errors.Is(err, errdefs.PermissionDenied) {
		t.Errorf("gRPC: %v", err)
	}
	if c := <-seen; c.REST || c.Certificate == nil || c.Certificate.Subject.CommonName != "operator-1" {
		t.Errorf("gRPC: the caller is %+v", c)
	}

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.HTTPAddr()+"/v1/nullVolumes/vol-0", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"Grpc-Metadata-Opi-Bridge-Caller-Certificate-Bin", "Opi-Bridge-Caller-Certificate-Bin"} {
		req.Header.Set(header, base64.StdEncoding.EncodeToString([]byte(forged)))
	}
	code, answer := roundTrip(t, &http.Transport{TLSClientConfig: client, DisableKeepAlives: true}, req)
	if code != http.StatusForbidden {
		t.Errorf("REST: %d %s", code, answer)
	}
	if c := <-seen; !c.REST || c.Certificate == nil || c.Certificate.Subject.CommonName != "operator-1" {
		t.Errorf("REST: the caller is %+v", c)
	}
	// Health needs no permission.
	if state := check(t, conn, ""); state != "SERVING" {
		t.Errorf("health: %s", state)
	}
}
