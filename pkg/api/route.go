// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Route is one way to reach a method over REST.
type Route struct {
	// Method is the RPC.
	Method protoreflect.MethodDescriptor
	// HTTPMethod is "GET", "POST" and so on.
	HTTPMethod string
	// Template is the path as google.api.http has it: "/v1/{name=nullVolumes/*}:stats".
	Template string
	// Body is the request field that the HTTP body is, "*" for the whole request, "" for none.
	Body string
	// Added says that the route is ours: the API's own one is taken by another method.
	Added bool
}

// added lists the routes that the API's annotations lack: its lists of encrypted and of QoS volumes
// share GET /v1/volumes, which can lead to one of them only.
func added() map[protoreflect.FullName]string {
	return map[protoreflect.FullName]string{
		"opi_api.storage.v1.MiddleendEncryptionService.ListEncryptedVolumes": "/v1/encryptedVolumes",
		"opi_api.storage.v1.MiddleendQosVolumeService.ListQosVolumes":        "/v1/qosVolumes",
	}
}

// Routes returns all routes of all services, in the order of Services and of their methods, those of
// the API's annotations before added ones. Where two methods have the same route the last one has it.
func Routes() []Route {
	var all []Route
	for _, service := range Services() {
		for i := range service.Methods().Len() {
			all = append(all, routesOf(service.Methods().Get(i))...)
		}
	}
	return all
}

func routesOf(method protoreflect.MethodDescriptor) []Route {
	var routes []Route
	if rule, ok := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule); ok && rule != nil {
		for _, rule := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			route := Route{Method: method, Body: rule.GetBody()}
			route.HTTPMethod, route.Template = pattern(rule)
			routes = append(routes, route)
		}
	}
	if template, ok := added()[method.FullName()]; ok {
		routes = append(routes, Route{Method: method, HTTPMethod: http.MethodGet, Template: template, Added: true})
	}
	return routes
}

// pattern returns the HTTP method and the path template of a rule.
func pattern(rule *annotations.HttpRule) (method, template string) {
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

// QueryFields returns the request fields that are query parameters of the route: those that are
// neither in the path nor in the body.
func (r Route) QueryFields() []protoreflect.FieldDescriptor {
	if r.Body == "*" {
		return nil
	}
	var fields []protoreflect.FieldDescriptor
	all := r.Method.Input().Fields()
	for i := range all.Len() {
		name := string(all.Get(i).Name())
		if r.Body != name && !strings.Contains(r.Template, "{"+name+"=") && !strings.Contains(r.Template, "{"+name+"}") {
			fields = append(fields, all.Get(i))
		}
	}
	return fields
}
