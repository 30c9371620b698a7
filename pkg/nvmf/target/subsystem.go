// SPDX-License-Identifier: Apache-2.0

package target

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// Range of controller identifiers (base 3.1.2), as SPDK has it.
const (
	minCNTLID = 1
	maxCNTLID = 0xFFEF
)

// maxNamespaces bounds the table of namespaces by identifier.
const maxNamespaces = 1 << 20

// SubsystemConfig describes a subsystem. All of it but AllowAnyHost is immutable.
type SubsystemConfig struct {
	// NQN is the name; required.
	NQN string
	// SerialNumber is at most 20 bytes of printable ASCII. Default twenty zeroes.
	SerialNumber string
	// ModelNumber is at most 40 bytes of printable ASCII. Default "SPDK bdev Controller".
	ModelNumber string
	// MaxNamespaces is the highest namespace identifier. Default 32.
	MaxNamespaces uint32
	// AllowAnyHost lets every host connect.
	AllowAnyHost bool
	// ANAReporting tells hosts about asymmetric access, per listener and group.
	ANAReporting bool
	// MinCNTLID and MaxCNTLID bound controller identifiers. Default 1 to 65519.
	MinCNTLID, MaxCNTLID uint16
	// DMRSL is the limit of blocks in a range of Dataset Management that hosts are told, WZSL that
	// of Write Zeroes as a power of two of pages of 4 KiB; 0 tells no limit.
	DMRSL uint32
	WZSL  uint8
}

func (c *SubsystemConfig) setDefaults() {
	setDefault(&c.SerialNumber, "00000000000000000000")
	setDefault(&c.ModelNumber, "SPDK bdev Controller")
	setDefault(&c.MaxNamespaces, 32)
	setDefault(&c.MinCNTLID, minCNTLID)
	setDefault(&c.MaxCNTLID, maxCNTLID)
}

func (c *SubsystemConfig) validate() error {
	if err := nvme.ValidateNQN(c.NQN); err != nil {
		return errdefs.Wrap(errdefs.InvalidArgument, err, "subsystem")
	}
	if !isPrintable(c.SerialNumber, 20) {
		return errdefs.InvalidField("serial_number", "%q is not at most 20 bytes of printable ASCII", c.SerialNumber)
	}
	if !isPrintable(c.ModelNumber, 40) {
		return errdefs.InvalidField("model_number", "%q is not at most 40 bytes of printable ASCII", c.ModelNumber)
	}
	if c.MinCNTLID < minCNTLID || c.MaxCNTLID > maxCNTLID || c.MinCNTLID > c.MaxCNTLID {
		return errdefs.InvalidField("min_cntlid", "controller identifiers from %d to %d are not a range within %d to %d", c.MinCNTLID, c.MaxCNTLID, minCNTLID, maxCNTLID)
	}
	if c.ANAReporting && c.MaxNamespaces > maxANAGroups {
		return errdefs.InvalidField("max_namespaces", "%d is more than %d, the most groups of asymmetric access", c.MaxNamespaces, maxANAGroups)
	}
	if c.MaxNamespaces > maxNamespaces {
		return errdefs.InvalidField("max_namespaces", "%d is more than %d", c.MaxNamespaces, maxNamespaces)
	}
	return nil
}

func isPrintable(s string, most int) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7E {
			return false
		}
	}
	return len(s) <= most
}

// subsystem is guarded by Target.mu, except where it says otherwise.
type subsystem struct {
	cfg          SubsystemConfig // immutable but for AllowAnyHost
	discovery    bool            // immutable
	deleting     bool
	hosts        []string            // newest first
	keys         map[string]*hostKey // by host; not all have one
	listeners    []*listener         // newest first
	namespaces   map[uint32]*namespace
	nextCNTLID   uint16
	controllers  map[uint16]*controller
	anaChange    uint64
	writeCache   bool
	changed      chan struct{}                // closed and replaced when a controller goes
	table        atomic.Pointer[[]*namespace] // by nsid-1, for queues; never written in place
	deleted      chan struct{}                // closed when deletion is complete
	anaReporting bool                         // immutable
}

func newSubsystem(cfg SubsystemConfig) *subsystem {
	s := &subsystem{
		cfg:          cfg,
		discovery:    cfg.NQN == nvme.DiscoveryNQN,
		keys:         map[string]*hostKey{},
		namespaces:   map[uint32]*namespace{},
		nextCNTLID:   cfg.MinCNTLID,
		controllers:  map[uint16]*controller{},
		writeCache:   true,
		changed:      make(chan struct{}),
		deleted:      make(chan struct{}),
		anaReporting: cfg.ANAReporting,
	}
	s.table.Store(&[]*namespace{})
	return s
}

// CreateSubsystem makes a subsystem without namespaces and listeners. A name that is taken is
// AlreadyExists, a bad field InvalidArgument, one subsystem too many ResourceExhausted.
func (t *Target) CreateSubsystem(cfg SubsystemConfig) error {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return errdefs.Wrap(errdefs.Unavailable, ErrClosed, "subsystem %q", cfg.NQN)
	case t.subsystems[cfg.NQN] != nil:
		return errdefs.New(errdefs.AlreadyExists, "subsystem %q exists", cfg.NQN)
	case len(t.subsystems) >= t.maxSubsystems:
		return errdefs.New(errdefs.ResourceExhausted, "subsystem %q: there are %d already, the most that this target takes", cfg.NQN, len(t.subsystems))
	}
	t.subsystems[cfg.NQN] = newSubsystem(cfg)
	return nil
}

// DeleteSubsystem cuts off the hosts of a subsystem, lets go of its listeners and namespaces, and
// returns when nothing of it is in use. When ctx ends first the deletion goes on by itself. While it
// runs, another call is Aborted with ErrDeleting.
func (t *Target) DeleteSubsystem(ctx context.Context, nqn string) error {
	t.mu.RLock()
	_, err := t.find(nqn)
	t.mu.RUnlock()
	if err != nil {
		return err
	}
	return t.deleteSubsystem(ctx, nqn)
}

func (t *Target) deleteSubsystem(ctx context.Context, nqn string) error {
	t.mu.Lock()
	s := t.subsystems[nqn]
	if s == nil {
		t.mu.Unlock()
		return noSubsystem(nqn)
	}
	if s.deleting {
		t.mu.Unlock()
		return errdefs.Wrap(errdefs.Aborted, ErrDeleting, "subsystem %q", nqn)
	}
	s.deleting = true
	spaces := make([]*namespace, 0, len(s.namespaces))
	for _, ns := range s.namespaces {
		spaces = append(spaces, ns)
	}
	s.namespaces = map[uint32]*namespace{}
	s.publish()
	portals := make([]*portal, 0, len(s.listeners))
	for _, l := range s.listeners {
		if t.releasePortal(l.portal) {
			portals = append(portals, l.portal)
		}
	}
	s.listeners = nil
	for host := range s.keys {
		t.dropKey(s, host)
	}
	s.disconnect("subsystem deleted", func(*controller) bool { return true })
	t.discoveryChanged()
	t.connections.Go(func() { t.finishDeletion(s, spaces, portals) }) //nolint:contextcheck // it outlives the caller by design
	t.mu.Unlock()
	select {
	case <-s.deleted:
		return nil
	case <-ctx.Done():
		return errdefs.Wrap(errdefs.OutcomeUnknown, context.Cause(ctx), "subsystem %q is still being deleted", nqn)
	}
}

// finishDeletion waits until nothing of a subsystem is in use, and takes it off the list.
func (t *Target) finishDeletion(s *subsystem, spaces []*namespace, portals []*portal) {
	for _, p := range portals {
		p.stop()
	}
	_ = t.waitControllers(context.Background(), s, func(*controller) bool { return true }) // fails only when its context ends
	for _, ns := range spaces {
		ns.drain()
	}
	t.mu.Lock()
	delete(t.subsystems, s.cfg.NQN)
	t.mu.Unlock()
	close(s.deleted)
}

// publish makes the namespaces of s visible to queues. t.mu is held for writing.
func (s *subsystem) publish() {
	var most uint32
	for nsid := range s.namespaces {
		most = max(most, nsid)
	}
	table := make([]*namespace, most)
	for nsid, ns := range s.namespaces {
		table[nsid-1] = ns
	}
	s.table.Store(&table)
}

// nsids returns the identifiers of the namespaces, ascending. t.mu is held.
func (s *subsystem) nsids() []uint32 {
	ids := make([]uint32, 0, len(s.namespaces))
	for id := range s.namespaces {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// disconnect cuts off the controllers that match. t.mu is held.
func (s *subsystem) disconnect(reason string, match func(*controller) bool) {
	for _, c := range s.controllers {
		if match(c) {
			c.shutdown(reason)
		}
	}
}

// waitControllers returns when no controller matches any more, or when ctx ends.
func (t *Target) waitControllers(ctx context.Context, s *subsystem, match func(*controller) bool) error {
	for {
		t.mu.RLock()
		left := 0
		for _, c := range s.controllers {
			if match(c) {
				left++
			}
		}
		changed := s.changed
		t.mu.RUnlock()
		if left == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errdefs.Wrap(errdefs.OutcomeUnknown, context.Cause(ctx), "%d controllers of %q are still being disconnected", left, s.cfg.NQN)
		}
	}
}
