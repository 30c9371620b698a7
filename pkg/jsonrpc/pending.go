// SPDX-License-Identifier: Apache-2.0

package jsonrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Pending is a call on its way.
type Pending struct {
	method  string
	name    []byte // method as a JSON string
	params  []byte
	result  any
	observe func(err error) // is told how the call has ended; nil for nobody

	conn    *clientConn // nil if it never came so far
	id      uint64
	written bool // guarded by conn.mu

	done chan struct{} // closed when raw and err are set
	raw  json.RawMessage
	err  error
}

// Wait waits for the answer and decodes it, see [Client.Call] for the errors. When ctx ends first,
// the call is given up: its answer, should it come, is dropped.
func (p *Pending) Wait(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		if p.conn != nil {
			p.conn.abandon(p, ctx)
		}
		<-p.done
	}
	if p.err != nil || p.result == nil {
		return p.err
	}
	if err := json.Unmarshal(p.raw, p.result); err != nil {
		return errdefs.Wrap(errdefs.Internal, err, "%s: unexpected answer", p.method)
	}
	return nil
}

// encode writes down what is sent.
func (p *Pending) encode(params any) (err error) {
	if p.name, err = encode(p.method); err != nil {
		return errdefs.Wrap(errdefs.InvalidArgument, err, "method name %q", p.method)
	}
	if params == nil {
		return nil
	}
	if p.params, err = encode(params); err != nil {
		return errdefs.Wrap(errdefs.InvalidArgument, err, "%s: parameters", p.method)
	}
	return nil
}

// finish sets the outcome. It is called once.
func (p *Pending) finish(raw json.RawMessage, err error) {
	p.raw, p.err = raw, err
	if p.observe != nil {
		p.observe(err)
	}
	close(p.done)
}

// refused is the outcome of a call that the server has answered with an error.
func refused(method string, err *Error) error { return fmt.Errorf("%s: %w", method, err) }

// gaveUp is the outcome of a call whose caller did not wait.
func gaveUp(ctx context.Context, written bool, method string) error {
	cause := context.Cause(ctx)
	switch {
	case written:
		return errdefs.Wrap(errdefs.OutcomeUnknown, cause, "%s: given up before the answer came", method)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errdefs.Wrap(errdefs.DeadlineExceeded, cause, "%s: not sent", method)
	}
	return errdefs.Wrap(errdefs.Canceled, cause, "%s: not sent", method)
}
