// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Bounds of an HTTP connection.
const (
	headerTimeout  = 10 * time.Second
	readTimeout    = time.Minute
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
)

// newHTTP returns the server of the HTTP listener, with rest answering what is not its own.
func (s *Server) newHTTP(rest http.Handler) (*http.Server, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelError),
	}))
	if err := s.documentation(mux); err != nil {
		return nil, err
	}
	mux.Handle("/", bounded(s.cfg.Limits, rest))
	return &http.Server{
		Handler:           s.recovering(mux),
		TLSConfig:         s.cfg.TLS.Clone(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}, nil
}

// bounded reads the body of a request, no more than limits allow, before next sees it, and lets no
// more requests in at the same time than the gRPC server would serve.
func bounded(limits Limits, next http.Handler) http.Handler {
	places := make(chan struct{}, limits.InFlight)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			refuse(w, r, 0, errdefs.New(errdefs.ResourceExhausted, "%d requests are being served already: try again later", limits.InFlight))
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limits.RequestBytes)))
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			refuse(w, r, http.StatusRequestEntityTooLarge,
				errdefs.New(errdefs.ResourceExhausted, "the body is larger than %d bytes", limits.RequestBytes))
			return
		case err != nil:
			refuse(w, r, 0, errdefs.New(errdefs.InvalidArgument, "the body ends before its end"))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// recovering answers 500 when a handler panics, and logs the stack.
func (s *Server) recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		next.ServeHTTP(w, r)
	})
}

// recovered is to be deferred.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	s.cfg.Log.LogAttrs(r.Context(), slog.LevelError, "an HTTP handler panicked",
		slog.String("path", r.URL.Path), slog.Any("panic", cause), slog.String("stack", string(debug.Stack())))
	refuse(w, r, 0, errdefs.New(errdefs.Internal, "the request failed by a mistake in the server, which its log describes"))
}
