// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"net/http"
)

// Readiness is what /readyz says, as JSON.
type Readiness struct {
	// Ready says whether requests can be served. Resources that are not ready do not count: the
	// bridge serves although a storage node is away.
	Ready bool `json:"ready"`
	// Parts are what the bridge needs to serve (data plane, store, lease).
	Parts []Part `json:"parts"`
	// Resources counts resources by state.
	Resources map[string]int `json:"resources,omitempty"`
	// NotReady lists resources that are not in the data plane as they should be.
	NotReady []Waiting `json:"not_ready,omitempty"`
}

// Part is something that the bridge needs.
type Part struct {
	// Name says what.
	Name string `json:"name"`
	// Ready says whether it is there.
	Ready bool `json:"ready"`
	// Detail says why it is not there, or what is known of it.
	Detail string `json:"detail,omitempty"`
}

// Waiting is a resource that is not ready.
type Waiting struct {
	// Name is its resource name.
	Name string `json:"name"`
	// Reason says what it waits for.
	Reason string `json:"reason"`
}

// readiness is the configured readiness, but never ready once the server drains.
func (s *Server) readiness() Readiness {
	r := s.cfg.Ready()
	select {
	case <-s.draining:
		r.Ready = false
		r.Parts = append([]Part{{Name: "server", Detail: "ending: takes no more requests"}}, r.Parts...)
	default:
	}
	return r
}

// readyz answers 200 when ready and 503 otherwise, with the same JSON.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	r := s.readiness()
	code := http.StatusOK
	if !r.Ready {
		code = http.StatusServiceUnavailable
	}
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n'))
}

// healthz answers 200 as long as the process can answer at all.
func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}
