// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import "fmt"

// Codes that JSON-RPC 2.0 defines (section 5.1). SPDK adds negative errno values.
const (
	CodeParseError     = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternalError  = -32603
)

// Error is the error object of an answer: the server has understood the request and refuses it.
type Error struct {
	// Code is one of the codes of JSON-RPC 2.0 or, with SPDK, a negative errno.
	Code int `json:"code"`
	// Message is the server's text.
	Message string `json:"message"`
}

// Error returns the text and the code.
func (e *Error) Error() string { return fmt.Sprintf("%s (code %d)", e.Message, e.Code) }
