// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"net/url"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// queryParameters returns the query parameters of every REST route ("GET /v1/{name=nullVolumes/*}"), in
// proto and JSON names.
func queryParameters() map[string]map[string]bool {
	routes := make(map[string]map[string]bool)
	for _, route := range api.Routes() {
		names := make(map[string]bool)
		for _, fd := range route.QueryFields() {
			names[string(fd.Name())], names[fd.JSONName()] = true, true
		}
		routes[route.HTTPMethod+" "+route.Template] = names
	}
	return routes
}

// checkQuery refuses requests with a query parameter that the route does not have: the gateway would
// drop it.
func checkQuery(routes map[string]map[string]bool) runtime.Middleware {
	return func(next runtime.HandlerFunc) runtime.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
			pattern, _ := runtime.HTTPPattern(r.Context())
			known := routes[r.Method+" "+pattern.String()]
			query, err := url.ParseQuery(r.URL.RawQuery)
			if err != nil {
				refuse(w, r, 0, errdefs.New(errdefs.InvalidArgument, "the query of the URL is malformed"))
				return
			}
			for name := range query {
				if !known[name] {
					refuse(w, r, 0, errdefs.InvalidField(name, "is not a query parameter of %s %s", r.Method, pattern))
					return
				}
			}
			next(w, r, path)
		}
	}
}
