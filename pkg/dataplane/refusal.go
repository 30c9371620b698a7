// SPDX-License-Identifier: Apache-2.0

package dataplane

import "github.com/opi-bridge/opi-bridge/pkg/jsonrpc"

// refusal is the one answer that a method gives to parameters it cannot read. SPDK has several, by
// habit of whoever wrote the method; clients may compare them, so each method has its own.
type refusal struct {
	code    int
	message string
	// absent is the answer when there are no parameters at all; "" means message too.
	absent string
}

// decodeFailed is the text SPDK's JSON decoder is reported with by most bdev methods.
const decodeFailed = "spdk_json_decode_object failed"

// The refusals that more than one method uses.
var (
	refusedInternal = refusal{code: jsonrpc.CodeInternalError, message: decodeFailed}
	refusedParams   = refusal{code: jsonrpc.CodeInvalidParams, message: "Invalid parameters"}
	refusedArgument = refusal{code: jsonrpc.CodeInvalidParams, message: "Invalid argument"}
)

// refusedAny is the answer of a method that takes no parameters to any, be they empty.
func refusedAny(message string) refusal {
	return refusal{code: jsonrpc.CodeInvalidParams, message: message}
}
