// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/opi-bridge/opi-bridge/pkg/server"
)

// The OpenAPI document is served, and the page that shows it loads nothing from elsewhere.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	r := start(t, func(cfg *server.Config) { cfg.Version = "9.8.7" })
	code, raw := r.do(t, http.MethodGet, "/openapi.json", "")
	doc, err := openapi3.NewLoader().LoadFromData([]byte(raw))
	if code != http.StatusOK || err != nil || doc.Info.Version != "9.8.7" {
		t.Fatalf("openapi.json: %d, %v", code, err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	code, page := r.do(t, http.MethodGet, "/docs", "")
	if code != http.StatusOK || strings.Contains(page, "//") {
		t.Errorf("/docs: %d %s", code, page)
	}
	links := regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 3 {
		t.Errorf("the page leads to %v only", links)
	}
	for _, link := range links {
		if code, _ := r.do(t, http.MethodGet, "/"+link[1], ""); code != http.StatusOK {
			t.Errorf("%s: %d", link[1], code)
		}
	}
	for path, want := range map[string]int{"/docs/": http.StatusNotFound, "/docs/index.html": http.StatusNotFound, "/docs/nothing": http.StatusNotFound} {
		if code, _ := r.do(t, http.MethodGet, path, ""); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}
