// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
)

// Handler carries out one call. It runs on the server's one turn, so it must not block: what takes
// time belongs on a goroutine of the handler's owner, which answers later. Ctx ends when Serve does;
// neither a closed connection nor anything else cancels a call.
type Handler func(ctx context.Context, call *Call)

// Call is one request that waits for its answer. Exactly one of Reply and Fail must be called, once,
// before or after the handler returns, from any goroutine.
type Call struct {
	// Method is the name of the method.
	Method string
	// Params is the array or object of parameters, nil if there are none. The handler owns it.
	Params json.RawMessage

	id       json.RawMessage
	sink     sink
	log      *slog.Logger
	limit    int
	answered atomic.Bool
}

// sink takes the one answer of a call; an empty answer completes the call silently.
type sink interface{ deliver(answer []byte) }

// Reply answers with result, which encoding/json must be able to write; a [json.RawMessage] is
// written as it is. A notification is answered with nothing.
func (c *Call) Reply(result any) {
	if !c.claim() {
		return
	}
	if c.id == nil {
		c.sink.deliver(nil)
		return
	}
	body, err := encode(result)
	switch {
	case err != nil:
		c.log.Error("result cannot be encoded", "method", c.Method, "err", err)
		c.refuse(CodeInternalError, "Internal error")
	case len(body) > c.limit:
		c.log.Error("result is too large", "method", c.Method, "bytes", len(body), "limit", c.limit)
		c.refuse(CodeInternalError, "Internal error")
	default:
		c.sink.deliver(appendAnswer(make([]byte, 0, len(body)+len(c.id)+40), c.id, "result", body))
	}
}

// Fail answers with an error. Notifications get it too, with a null id.
func (c *Call) Fail(code int, message string) {
	if c.claim() {
		c.refuse(code, message)
	}
}

func (c *Call) refuse(code int, message string) {
	body, err := encode(&Error{Code: code, Message: message})
	if err != nil {
		c.log.Error("error cannot be encoded", "method", c.Method, "err", err)
	}
	c.sink.deliver(appendAnswer(nil, c.id, "error", body))
}

// claim makes sure that a call is answered once.
func (c *Call) claim() bool {
	if c.answered.Swap(true) {
		c.log.Error("call answered twice, the second answer is dropped", "method", c.Method)
		return false
	}
	return true
}
