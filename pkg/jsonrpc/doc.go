// SPDX-License-Identifier: Apache-2.0

// Package jsonrpc speaks JSON-RPC 2.0 on stream sockets the way SPDK does: no framing, many calls in
// flight on one connection, answers matched by id and free to overtake each other.
//
// [Client] keeps one connection to a server, [Server] is the other end. The server follows SPDK
// v26.09 byte for byte, its traps included, because clients written for the one must meet no
// surprise with the other: bad JSON closes the connection together with the answers that were about
// to be sent, errors are answered even without an id, and a client that half-closes loses every
// answer that is not ready within one poll period.
package jsonrpc
