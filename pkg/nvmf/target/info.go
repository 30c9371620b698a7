// SPDX-License-Identifier: Apache-2.0

package target

import (
	"cmp"
	"slices"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// SubsystemInfo is a subsystem as it is now.
type SubsystemInfo struct {
	SubsystemConfig
	// Discovery says that it is the discovery subsystem.
	Discovery bool
	// Hosts may connect; newest first.
	Hosts []string
	// Listeners are newest first.
	Listeners []ListenerInfo
	// Namespaces are in order of their identifiers. Device and Released are set as they were given.
	Namespaces []NamespaceConfig
}

// ListenerInfo is a listener as it is now.
type ListenerInfo struct {
	// Address is as it was given, with the port that was bound.
	Address Address
	// ANAStates holds the state of each group by anagrpid-1; nil without ANA reporting.
	ANAStates []nvme.ANAState
	// Secure is as it was given.
	Secure bool
}

// ControllerInfo is a connected controller.
type ControllerInfo struct {
	CNTLID    uint16
	Discovery bool
	HostNQN   string
	HostID    uuid.UUID
	// Queues counts the connected queues, the admin queue among them: what SPDK shows as
	// num_io_qpairs.
	Queues int
}

// QpairInfo is a connected queue.
type QpairInfo struct {
	CNTLID, QID    uint16
	HostNQN        string
	Listener, Peer Address
}

// Subsystems returns all subsystems, the discovery subsystem among them, sorted by NQN.
func (t *Target) Subsystems() []SubsystemInfo {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]SubsystemInfo, 0, len(t.subsystems))
	for _, s := range t.subsystems {
		all = append(all, s.info())
	}
	slices.SortFunc(all, func(a, b SubsystemInfo) int { return cmp.Compare(a.NQN, b.NQN) })
	return all
}

// Subsystem returns one subsystem, or NotFound with ErrNoSubsystem.
func (t *Target) Subsystem(nqn string) (SubsystemInfo, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.subsystems[nqn]
	if s == nil {
		return SubsystemInfo{}, noSubsystem(nqn)
	}
	return s.info(), nil
}

// info copies what may change. t.mu is held.
func (s *subsystem) info() SubsystemInfo {
	i := SubsystemInfo{SubsystemConfig: s.cfg, Discovery: s.discovery, Hosts: slices.Clone(s.hosts)}
	for _, l := range s.listeners {
		i.Listeners = append(i.Listeners, ListenerInfo{Address: l.address, Secure: l.secure, ANAStates: slices.Clone(*l.ana.Load())})
	}
	for _, id := range s.nsids() {
		i.Namespaces = append(i.Namespaces, s.namespaces[id].cfg)
	}
	return i
}

// Controllers returns the connected controllers of a subsystem, by identifier.
func (t *Target) Controllers(nqn string) ([]ControllerInfo, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.subsystems[nqn]
	if s == nil {
		return nil, noSubsystem(nqn)
	}
	all := make([]ControllerInfo, 0, len(s.controllers))
	for _, c := range s.controllers {
		all = append(all, ControllerInfo{CNTLID: c.cntlid, Discovery: s.discovery, HostNQN: c.hostNQN, HostID: c.hostID, Queues: len(c.queueList())})
	}
	slices.SortFunc(all, func(a, b ControllerInfo) int { return cmp.Compare(a.CNTLID, b.CNTLID) })
	return all, nil
}

// Qpairs returns the connected queues of a subsystem, by controller and queue identifier.
func (t *Target) Qpairs(nqn string) ([]QpairInfo, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.subsystems[nqn]
	if s == nil {
		return nil, noSubsystem(nqn)
	}
	var all []QpairInfo
	for _, c := range s.controllers {
		for _, q := range c.queueList() {
			all = append(all, QpairInfo{CNTLID: c.cntlid, QID: q.qid, HostNQN: c.hostNQN, Listener: addressOf(q.portal.at), Peer: addressOf(q.peer)})
		}
	}
	slices.SortFunc(all, func(a, b QpairInfo) int {
		return cmp.Or(cmp.Compare(a.CNTLID, b.CNTLID), cmp.Compare(a.QID, b.QID))
	})
	return all, nil
}
