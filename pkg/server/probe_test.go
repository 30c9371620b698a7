// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/server"
)

// Under mTLS the health listener answers without a certificate, and says no more than it must.
func TestHealthListenerNeedsNoCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	r := start(t, func(cfg *server.Config) {
		cfg.TLS = &tls.Config{
			Certificates: []tls.Certificate{ca.sign(t, "server")}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
		}
		cfg.HealthListen = "127.0.0.1:0"
	})
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.HealthAddr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return roundTrip(t, &http.Transport{DisableKeepAlives: true}, req)
	}
	for _, row := range []struct {
		path, body string
		ready      bool
		code       int
	}{
		{"/healthz", "ok\n", true, http.StatusOK},
		{"/readyz", "ready\n", true, http.StatusOK},
		{"/readyz", "not ready\n", false, http.StatusServiceUnavailable},
		{"/healthz", "ok\n", false, http.StatusOK},
	} {
		r.ready.Store(row.ready)
		if code, body := get(row.path); code != row.code || body != row.body {
			t.Errorf("%s when ready is %v: %d %q", row.path, row.ready, code, body)
		}
	}
	for _, path := range []string{"/metrics", "/v1/nullVolumes", "/openapi.json", "/docs", "/"} {
		if code, body := get(path); code != http.StatusNotFound || strings.Contains(body, "opi") {
			t.Errorf("%s: %d %q, want nothing there", path, code, body)
		}
	}
}
