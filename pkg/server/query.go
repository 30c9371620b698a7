// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// queryParameters returns the query parameters of every REST route ("GET /v1/{name=nullVolumes/*}"), by
// proto and JSON names.
func queryParameters() map[string]map[string]protoreflect.FieldDescriptor {
	routes := make(map[string]map[string]protoreflect.FieldDescriptor)
	for _, route := range api.Routes() {
		names := make(map[string]protoreflect.FieldDescriptor)
		for _, fd := range route.QueryFields() {
			names[string(fd.Name())], names[fd.JSONName()] = fd, fd
		}
		routes[route.HTTPMethod+" "+route.Template] = names
	}
	return routes
}

// checkRequest refuses what the gateway would drop, or answer with an error that does not help: query
// parameters that the route does not have, values that are none, bytes that are no text, and another
// name in the body than in the path.
func checkRequest(routes map[string]map[string]protoreflect.FieldDescriptor) runtime.Middleware {
	return func(next runtime.HandlerFunc) runtime.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, variables map[string]string) {
			pattern, _ := runtime.HTTPPattern(r.Context())
			query, err := url.ParseQuery(r.URL.RawQuery)
			if err != nil {
				refuse(w, r, 0, errdefs.New(errdefs.InvalidArgument, "the query of the URL is malformed"))
				return
			}
			if noTime(r) {
				refuse(w, r, 0, errdefs.New(errdefs.DeadlineExceeded, "the request gives no time, in its header Grpc-Timeout"))
				return
			}
			var wrong []errdefs.FieldViolation
			for field, value := range variables {
				if !utf8.ValidString(value) {
					wrong = append(wrong, errdefs.FieldViolation{Field: field, Description: "the path of the URL is not UTF-8"})
				} else if message, isName := strings.CutSuffix(field, ".name"); isName && r.Method == http.MethodPatch {
					wrong = append(wrong, otherName(r, message, value)...)
				}
			}
			route := r.Method + " " + pattern.String()
			if wrong = append(wrong, checkQuery(query, routes[route], route)...); len(wrong) > 0 {
				refuse(w, r, 0, errdefs.Invalid(wrong))
				return
			}
			next(w, r, variables)
		}
	}
}

// checkQuery returns what is wrong with the query of a request.
func checkQuery(query url.Values, known map[string]protoreflect.FieldDescriptor, route string) []errdefs.FieldViolation {
	var wrong []errdefs.FieldViolation
	given := map[protoreflect.FieldNumber]int{}
	for name, values := range query {
		fd := known[name]
		if fd == nil {
			wrong = append(wrong, errdefs.FieldViolation{
				Field: strings.ToValidUTF8(name, "\uFFFD"), Description: "is not a query parameter of " + route,
			})
			continue
		}
		refused := func(why string) {
			wrong = append(wrong, errdefs.FieldViolation{Field: string(fd.Name()), Description: why})
		}
		if given[fd.Number()] += len(values); given[fd.Number()] > 1 && !fd.IsList() {
			refused("stands in the query more than once")
			continue
		}
		for _, value := range values {
			if why := notA(fd.Kind(), value); why != "" {
				refused(why)
			}
		}
	}
	return wrong
}

// notA says why text is no value of a kind, "" when it is one.
func notA(kind protoreflect.Kind, text string) string {
	var err error
	var what string
	switch kind { // those that query parameters have
	case protoreflect.BoolKind:
		_, err = strconv.ParseBool(text)
		what = "true or false"
	case protoreflect.Int32Kind:
		_, err = strconv.ParseInt(text, 10, 32)
		what = "an integer of 32 bits"
	default:
		if !utf8.ValidString(text) {
			return "is not UTF-8"
		}
	}
	if err != nil {
		return strconv.Quote(text) + " is not " + what
	}
	return ""
}

// otherName refuses a body that names another resource than the path does: the gateway takes the path's.
// The collection may be the one under which clients of opi-spdk-bridge know the resource.
func otherName(r *http.Request, message, inPath string) []errdefs.FieldViolation {
	raw, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(raw))
	var body struct {
		Name string `json:"name"`
	}
	if err != nil || json.Unmarshal(raw, &body) != nil { // the gateway says what is wrong with it
		return nil
	}
	if body.Name == "" || body.Name == inPath || body.Name == "volumes/"+path.Base(inPath) {
		return nil
	}
	return []errdefs.FieldViolation{{
		Field: message + ".name", Description: strconv.Quote(body.Name) + " is not the name in the path, " + inPath + ": leave it out",
	}}
}

// noTime says whether a request states that it has no time left. The gateway takes that for no deadline.
func noTime(r *http.Request) bool {
	timeout := r.Header.Get("Grpc-Timeout")
	return len(timeout) > 1 && strings.Trim(timeout[:len(timeout)-1], "0") == ""
}
