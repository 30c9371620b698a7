// SPDX-License-Identifier: Apache-2.0

// Package server is the front door: a gRPC listener and an HTTP listener, and everything that holds
// for every request whichever way it comes.
//
//	gRPC  ──────────────────────────────┐
//	                                    ├─ one gRPC server: observe, translate errors, recover,
//	REST  ─ gateway ─ in-process pipe ──┘  limit, authorize ─ services
//
// REST requests become gRPC requests on a connection that never leaves the process, so there is one
// chain of interceptors and no way around it. The HTTP listener also answers /healthz, /readyz,
// /metrics, /openapi.json and /docs. A health listener, if wanted, answers the first two in plain text.
package server
