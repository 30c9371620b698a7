// SPDX-License-Identifier: Apache-2.0

// Package openapi describes the REST face of all services as one OpenAPI 3.0 document. It is made from
// the protobuf descriptors that the services are served from, so it cannot say anything else: paths
// and parameters follow google.api.http, schemas the proto3 JSON mapping, errors are google.rpc.Status.
//
// Descriptors carry no comments, so the document tells forms and not meanings.
package openapi
