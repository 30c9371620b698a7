// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// queryParameters returns the query parameters of every REST route ("GET /v1/{name=nullVolumes/*}"):
// the fields of the request that are neither in the path nor in the body, in proto and JSON names.
func queryParameters() map[string]map[string]bool {
	routes := make(map[string]map[string]bool)
	for _, service := range api.Services() {
		for i := range service.Methods().Len() {
			m := service.Methods().Get(i)
			rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
			if !ok {
				continue
			}
			method, template := route(rule)
			routes[method+" "+template] = parametersOf(m.Input(), rule.GetBody(), template)
		}
	}
	return routes
}

// route returns the HTTP method and the path template of a rule.
func route(rule *annotations.HttpRule) (method, template string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	case *annotations.HttpRule_Put:
		return http.MethodPut, p.Put
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	}
	return "", ""
}

func parametersOf(request protoreflect.MessageDescriptor, body, template string) map[string]bool {
	names := make(map[string]bool)
	for i := range request.Fields().Len() {
		fd := request.Fields().Get(i)
		name := string(fd.Name())
		if body == "*" || body == name || strings.Contains(template, "{"+name+"=") || strings.Contains(template, "{"+name+"}") {
			continue
		}
		names[name], names[fd.JSONName()] = true, true
	}
	return names
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
