// SPDX-License-Identifier: Apache-2.0

package spdkrpc

import (
	"context"
	"errors"

	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
)

// Caller makes one call and waits for its answer; see [jsonrpc.Client.Call] for the errors. It must
// be safe for concurrent use.
type Caller interface {
	Call(ctx context.Context, method string, params, result any) error
}

// The envelope, under names that spare users of this package to know it.
type (
	// Client keeps one connection to SPDK.
	Client = jsonrpc.Client
	// ClientConfig says which SPDK, and how.
	ClientConfig = jsonrpc.ClientConfig
	// Error is SPDK's refusal.
	Error = jsonrpc.Error
)

// NewClient returns a client that has no connection until its Run runs.
func NewClient(cfg ClientConfig) (*Client, error) { return jsonrpc.NewClient(cfg) }

// Codes of refusals: those of JSON-RPC, and negative errno values.
const (
	CodeMethodNotFound = jsonrpc.CodeMethodNotFound
	CodeInvalidParams  = jsonrpc.CodeInvalidParams
	CodeInternal       = jsonrpc.CodeInternalError

	CodePerm         = -1   // not permitted, or not in this phase
	CodeNoEntry      = -2   // no such file or directory
	CodeNotDirectory = -20  // not a directory
	CodeIO           = -5   // whatever failed on the wire
	CodeNxIO         = -6   // no such path
	CodeAgain        = -11  // not now
	CodeNoMemory     = -12  // out of memory
	CodeAccess       = -13  // permission denied
	CodeBusy         = -16  // busy, or a shrunk file
	CodeExists       = -17  // name, alias, uuid or address taken
	CodeNoDevice     = -19  // no such bdev or controller
	CodeIsDir        = -21  // a directory
	CodeInvalid      = -22  // invalid argument
	CodeNoSpace      = -28  // no space left
	CodeRange        = -34  // result does not fit
	CodeNotSupported = -95  // not in this build, or not with these parameters
	CodeTimedOut     = -110 // connection timed out
	CodeAlready      = -114 // this path is attached already
	CodeNoKey        = -126 // no such key in the keyring
)

// Refusal returns the refusal in the chain of err, or nil if SPDK has not refused.
func Refusal(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return nil
}

// named is the parameter of the many methods that take a name only.
type named struct {
	Name string `json:"name"`
}

// get makes a call that returns a T.
func get[T any](ctx context.Context, c Caller, method string, params any) (T, error) {
	var result T
	err := c.Call(ctx, method, params, &result)
	return result, err
}
