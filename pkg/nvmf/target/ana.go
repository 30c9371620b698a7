// SPDX-License-Identifier: Apache-2.0

package target

import (
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// maxANAGroups is what the log page can count.
const maxANAGroups = 65535

func checkANAState(s nvme.ANAState) error {
	switch s {
	case nvme.ANAOptimized, nvme.ANANonOptimized, nvme.ANAInaccessible:
		return nil
	default:
		return errdefs.InvalidField("ana_state", "%#x is not optimized, non_optimized or inaccessible", uint8(s))
	}
}

// anaStates returns the states of all groups of a new listener, none without ANA reporting.
func (s *subsystem) anaStates(state nvme.ANAState) *[]nvme.ANAState {
	var states []nvme.ANAState
	if s.anaReporting {
		states = slices.Repeat([]nvme.ANAState{state}, int(s.cfg.MaxNamespaces))
	}
	return &states
}

// SetANAState sets the access through a listener of one group, or of all with group 0, and tells the
// hosts there. Without ANA reporting it is FailedPrecondition; an unknown listener is NotFound with
// ErrNoListener, a group above MaxNamespaces InvalidArgument.
func (t *Target) SetANAState(nqn string, address Address, state nvme.ANAState, group uint32) error {
	if err := checkANAState(state); err != nil {
		return err
	}
	at, err := address.parse()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(nqn)
	if err != nil {
		return err
	}
	if !s.anaReporting {
		return errdefs.New(errdefs.FailedPrecondition, "subsystem %q does not report asymmetric access", nqn)
	}
	l := s.listener(portalKey(at))
	if l == nil {
		return errdefs.Wrap(errdefs.NotFound, ErrNoListener, "listener %s of subsystem %q", at, nqn)
	}
	states := slices.Clone(*l.ana.Load())
	if group > s.cfg.MaxNamespaces {
		return errdefs.InvalidField("anagrpid", "%d is above %d, the highest of subsystem %q", group, s.cfg.MaxNamespaces, nqn)
	}
	for i := range states {
		if group == 0 || group-1 == uint32(i) {
			states[i] = state
		}
	}
	l.ana.Store(&states)
	s.anaChange++
	for _, c := range s.controllers {
		if c.listener == l {
			c.post(nvme.EventANAChanged)
		}
	}
	return nil
}

// anaStatus returns what a command to ns through this controller fails with, or Success.
func (c *controller) anaStatus(ns *namespace) nvme.Status {
	if !c.subsystem.anaReporting || c.listener == nil {
		return nvme.Success
	}
	switch (*c.listener.ana.Load())[ns.cfg.ANAGRPID-1] {
	case nvme.ANAInaccessible:
		return nvme.StatusANAInaccessible
	case nvme.ANAPersistentLoss:
		return nvme.StatusANAPersistentLoss
	case nvme.ANAChange:
		return nvme.StatusANATransition
	case nvme.ANAOptimized, nvme.ANANonOptimized:
		return nvme.Success
	default:
		return nvme.Success
	}
}

// anaLog returns the log page; bare leaves the namespaces out.
func (c *controller) anaLog(bare bool) []byte {
	t, s := c.target, c.subsystem
	t.mu.RLock()
	defer t.mu.RUnlock()
	members := map[uint32][]uint32{}
	for _, id := range s.nsids() {
		group := s.namespaces[id].cfg.ANAGRPID
		members[group] = append(members[group], id)
	}
	var groups []nvme.ANAGroup
	for i, state := range *c.listener.ana.Load() {
		id := uint32(i) + 1
		if members[id] == nil {
			continue
		}
		g := nvme.ANAGroup{ANAGRPID: id, ChangeCount: s.anaChange, State: state, NSIDs: members[id]}
		if bare {
			g.NSIDs = nil
		}
		groups = append(groups, g)
	}
	return nvme.EncodeANA(s.anaChange, groups)
}
