// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"math"

	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
)

// What a method answers that is called in the wrong phase: SPDK takes some before the framework is
// initialized, and all others after that.
const (
	wrongPhaseCode = -1
	tooLate        = "Method may only be called before framework is initialized. " +
		"Use --wait-for-rpc command line parameter and then issue this RPC before the framework_start_init RPC."
	tooEarly = "Method may only be called after framework is initialized using framework_start_init RPC."
)

// phase is when a method can be called.
type phase uint8

const (
	afterStart  phase = iota
	beforeStart       // before the framework is initialized
	always
)

// in lets the method be called in another phase than after the start.
func (m method) in(p phase) method {
	m.phase = p
	return m
}

// anytime lets all of a family be called in every phase.
func anytime(family []method) []method {
	for i := range family {
		family[i].phase = always
	}
	return family
}

func startupMethods() []method {
	return []method{
		without("framework_start_init", refusedAny("'framework_start_init' requires no arguments"), startInit).in(beforeStart),
		without("framework_wait_init", refusedAny("'framework_wait_init' requires no arguments"), waitInit).in(always),
		taking("nvmf_set_max_subsystems", refusedParams, setMaxSubsystems).maybe().in(beforeStart),
	}
}

// startup is the phase of a process that was started with --wait-for-rpc. It is touched on the turn only.
type startup struct {
	pending bool
	// waiting are the calls of framework_wait_init.
	waiting []*call
	// maxSubsystems says that their number has been set.
	maxSubsystems bool
}

// callable says whether the method can be called now.
func (s *startup) callable(m *method) bool {
	return m.phase == always || s.pending == (m.phase == beforeStart)
}

// outOfPhase answers a method that cannot be called now.
func (c *call) outOfPhase() {
	if c.server.startup.pending {
		c.fail(wrongPhaseCode, tooEarly)
		return
	}
	c.fail(wrongPhaseCode, tooLate)
}

// startInit begins the work; there is nothing to initialize that would take time.
func startInit(_ context.Context, c *call) {
	s := &c.server.startup
	s.pending = false
	c.reply(true)
	for _, w := range s.waiting {
		w.reply(true)
	}
	s.waiting = nil
}

func waitInit(_ context.Context, c *call) {
	if s := &c.server.startup; s.pending {
		s.waiting = append(s.waiting, c)
		return
	}
	c.reply(true)
}

type setMaxSubsystemsParams struct {
	MaxSubsystems uint32 `rpc:"max_subsystems,required"`
}

// setMaxSubsystems takes 0 as SPDK does: for what is usual, and it may be called again.
func setMaxSubsystems(_ context.Context, c *call, p *setMaxSubsystemsParams) {
	s := c.server
	switch {
	case s.startup.maxSubsystems:
		c.fail(jsonrpc.CodeInternalError, "Must not call more than once")
		return
	case p.MaxSubsystems > math.MaxInt32:
		c.refuse()
		return
	}
	if most := int(p.MaxSubsystems); most > 0 {
		s.startup.maxSubsystems = true
		s.nvmf.maxSubsystems = most
		s.nvmf.target.SetMaxSubsystems(most)
	}
	c.reply(true)
}
