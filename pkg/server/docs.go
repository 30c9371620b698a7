// SPDX-License-Identifier: Apache-2.0

package server

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/opi-bridge/opi-bridge/pkg/api/openapi"
)

// pageFiles is a page that shows the OpenAPI document. It loads nothing from elsewhere.
//
//go:embed page
var pageFiles embed.FS

// documentation adds /openapi.json, and /docs to read it with.
func (s *Server) documentation(mux *http.ServeMux) error {
	document, err := openapi.Document(s.cfg.Version)
	if err != nil {
		return fmt.Errorf("OpenAPI document: %w", err)
	}
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		return fmt.Errorf("documentation page: %w", err)
	}
	serve := func(pattern string, next http.Handler) {
		mux.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.Header().Set("Cache-Control", "no-cache")
			next.ServeHTTP(w, r)
		}))
	}
	serve("GET /openapi.json", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document)
	}))
	serve("GET /docs", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "index.html")
	}))
	for _, name := range []string{"page.css", "page.js"} {
		serve("GET /docs/"+name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, files, name)
		}))
	}
	return nil
}
