// SPDX-License-Identifier: Apache-2.0

// Package errgrpc is the one translation between the error classes of package errdefs and gRPC
// status, in both directions. A server installs the server interceptors, a client the client
// interceptors; in between, nobody builds or inspects a status by hand. REST follows, because the
// gateway forwards the status it gets.
//
// On the wire every error carries a google.rpc.ErrorInfo of domain [Domain]; field violations travel
// as google.rpc.BadRequest and preconditions as google.rpc.PreconditionFailure.
package errgrpc
