// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"reflect"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
)

// method is one line of the method table: what it is called, which parameters it takes, how it
// refuses others, and what it does.
type method struct {
	name    string
	refusal refusal
	// plan reads the parameters; nil when the method takes none.
	plan *plan
	// optional: the method can be called without parameters.
	optional bool
	// careless: whatever the parameters are, they are not looked at.
	careless bool
	// phase is when the method can be called.
	phase phase
	run   func(context.Context, *call)
}

// taking declares a method with parameters of type P. Its run is called with parameters that have
// been read; on the goroutine of the connection, in the order of the requests, so it does not wait. The
// context ends with the server, not with the connection: an operation once begun goes on.
func taking[P any](name string, r refusal, run func(context.Context, *call, *P)) method {
	p := newPlan(reflect.TypeFor[P]())
	return method{name: name, refusal: r, plan: p, run: func(ctx context.Context, c *call) {
		params := new(P)
		if !c.read(p, reflect.ValueOf(params).Elem()) {
			return
		}
		run(ctx, c, params)
	}}
}

// without declares a method that takes no parameters.
func without(name string, r refusal, run func(context.Context, *call)) method {
	return method{name: name, refusal: r, run: func(ctx context.Context, c *call) {
		if c.request.Params != nil && !c.method.careless {
			c.refuse()
			return
		}
		run(ctx, c)
	}}
}

// lenient lets the method skip unknown keys.
func (m method) lenient() method {
	m.plan.lenient = true
	return m
}

// maybe lets the method be called without parameters.
func (m method) maybe() method {
	m.optional = true
	return m
}

// call is one request that is being answered. Exactly one of its answering methods is called, once,
// from any goroutine.
type call struct {
	server  *Server
	method  *method
	request *jsonrpc.Call
}

// read decodes the parameters, or refuses them and reports false.
func (c *call) read(p *plan, into reflect.Value) bool {
	if c.request.Params == nil {
		if !c.method.optional {
			c.refuse()
			return false
		}
		return true
	}
	if !p.read(c.request.Params, into) {
		c.refuse()
		return false
	}
	return true
}

func (c *call) refuse() {
	r := c.method.refusal
	if c.request.Params == nil && r.absent != "" {
		r.message = r.absent
	}
	c.fail(r.code, r.message)
}

// reply answers with a result, which package encoding/json must be able to write.
func (c *call) reply(result any) { c.request.Reply(result) }

// fail answers with an error.
func (c *call) fail(code int, message string) { c.request.Fail(code, message) }

// failErrno answers with a negative errno and its text.
func (c *call) failErrno(errno syscall.Errno) { c.fail(-int(errno), strerror(errno)) }

// failErr answers with the errno that err carries.
func (c *call) failErr(err error) { c.failErrno(errnoOf(err)) }

// done answers true, or the errno of err.
func (c *call) done(err error) {
	if err != nil {
		c.failErr(err)
		return
	}
	c.reply(true)
}

// later leaves the rest of the call for a later turn; calls with the same key keep their order. When
// the server is closing the call stays unanswered.
func (c *call) later(key string, run func()) { c.server.turns.later(key, run) }
