// SPDX-License-Identifier: Apache-2.0

package openapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/api"
)

// object is a JSON object.
type object = map[string]any

// Document returns the description of all routes, as JSON. version is that of the server.
func Document(version string) ([]byte, error) {
	w := &writer{schemas: object{}, paths: object{}}
	routes := api.Routes()
	for i, route := range routes {
		// Of two methods at one route the last has it.
		later := slices.ContainsFunc(routes[i+1:], func(r api.Route) bool {
			return r.HTTPMethod == route.HTTPMethod && r.Template == route.Template
		})
		if !later {
			w.route(route)
		}
	}
	w.schema(statusMessage())
	return json.MarshalIndent(object{
		"openapi": "3.0.3",
		"info": object{
			"title":   "opi-bridge",
			"version": version,
			"description": "The OPI storage and inventory APIs and the bridge's own service over REST. " +
				"All of it can be had over gRPC too.",
		},
		"paths":      w.paths,
		"components": object{"schemas": w.schemas},
		"tags":       w.tags(),
	}, "", " ")
}

// writer collects what the document needs.
type writer struct {
	schemas, paths object
	services       []string
}

func (w *writer) tags() []object {
	tags := make([]object, len(w.services))
	for i, name := range w.services {
		tags[i] = object{"name": name}
	}
	return tags
}

// route adds one operation.
func (w *writer) route(route api.Route) {
	service := string(route.Method.Parent().Name())
	if !slices.Contains(w.services, service) {
		w.services = append(w.services, service)
	}
	path, variables := expand(route.Template)
	id := service + "_" + string(route.Method.Name())
	if route.Added {
		id += "2" // the method may have its first route as well
	}
	operation := object{
		"operationId": id,
		"summary":     string(route.Method.Name()),
		"description": fmt.Sprintf("gRPC: %s/%s", route.Method.Parent().FullName(), route.Method.Name()),
		"tags":        []string{service},
		"responses": object{
			"200":     object{"description": "OK", "content": content(w.ref(route.Method.Output()))},
			"default": object{"description": "An error", "content": content(w.ref(statusMessage()))},
		},
	}
	parameters := make([]object, 0, len(variables))
	for _, v := range variables {
		parameters = append(parameters, object{"name": v.name, "in": "path", "required": true, "description": v.description, "schema": object{"type": "string"}})
	}
	for _, fd := range route.QueryFields() {
		parameter := object{"name": fd.JSONName(), "in": "query", "schema": w.field(fd)}
		if about := meaning(route, fd); about != "" {
			parameter["description"] = about
		}
		parameters = append(parameters, parameter)
	}
	if len(parameters) > 0 {
		operation["parameters"] = parameters
	}
	if body := w.body(route); body != nil {
		operation["requestBody"] = object{"required": true, "content": content(body)}
	}
	operations, ok := w.paths[path].(object)
	if !ok {
		operations = object{}
		w.paths[path] = operations
	}
	operations[strings.ToLower(route.HTTPMethod)] = operation
}

// meaning says of a query parameter what its name does not.
func meaning(route api.Route, fd protoreflect.FieldDescriptor) string {
	switch fd.Name() {
	case "update_mask":
		return "The fields to change, separated by commas, those in others after a dot; * for all. Without it: the fields that are in the body."
	case "allow_missing":
		if route.HTTPMethod == http.MethodDelete {
			return "Succeed if there is no such resource."
		}
		return "Create the resource if there is none."
	case "page_size":
		return "How many to return at most: 0 for 50, and never more than 1000."
	case "page_token":
		return "The nextPageToken of the page before; the first page without."
	case "not_ready_only":
		return "Only what is not in the data plane as it should be."
	case "controller_name_ref":
		return "Leave it out: a LUN is known by its own name."
	case "parent":
		if route.Added {
			return "Leave it out: these have no parent."
		}
	}
	if strings.HasSuffix(string(fd.Name()), "_id") && route.HTTPMethod == http.MethodPost {
		return "The id of the new resource; a UUID is made when there is none."
	}
	return ""
}

// body returns the schema of the HTTP body, nil for none.
func (w *writer) body(route api.Route) object {
	switch route.Body {
	case "":
		return nil
	case "*":
		return w.ref(route.Method.Input())
	}
	return w.field(route.Method.Input().Fields().ByName(protoreflect.Name(route.Body)))
}

func content(schema object) object { return object{"application/json": object{"schema": schema}} }
