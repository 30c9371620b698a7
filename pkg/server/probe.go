// SPDX-License-Identifier: Apache-2.0

package server

import (
	"log/slog"
	"net/http"
)

// newProbe returns the server of the health listener: /healthz and /readyz by their status codes, for
// those who watch over processes and have no certificate to show. It says nothing that others must not
// know, so it needs no TLS: what is not ready stands on the HTTP listener only.
func (s *Server) newProbe() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", s.readyzBrief)
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
}

// readyzBrief answers 200 when ready and 503 otherwise, and no more.
func (s *Server) readyzBrief(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if !s.readiness().Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("not ready\n"))
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}
