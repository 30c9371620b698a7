// SPDX-License-Identifier: Apache-2.0

package target

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// ListenerConfig describes where a subsystem can be reached.
type ListenerConfig struct {
	// Address is where to listen. Port 0 lets the kernel choose.
	Address Address
	// ANAState is the access that namespaces have through this listener. Default optimized.
	ANAState nvme.ANAState
	// Secure has connections begin with TLS, with the keys of hosts. Where others listen at the same
	// address the first one has decided: without TLS there it is refused.
	Secure bool
}

// MaxListeners is how many listeners a subsystem has at most, as in SPDK
// (NVMF_MAX_LISTENERS_PER_SUBSYSTEM).
const MaxListeners = 16

// listener is a subsystem's use of a portal. Guarded by Target.mu.
type listener struct {
	address Address // as it was given, with the real port
	portal  *portal
	secure  bool // as it was given
	id      uint16
	// ana holds the state of each group by anagrpid-1; queues read it, so it is replaced as a whole.
	ana atomic.Pointer[[]nvme.ANAState]
}

// AddListener lets hosts reach the subsystem at an address, which other subsystems may share. It
// returns the address with the port that was bound. The same address twice is AlreadyExists, an
// address that cannot be bound FailedPrecondition, no transport FailedPrecondition with
// ErrNoTransport, a malformed one InvalidArgument, one more than [MaxListeners] ResourceExhausted.
func (t *Target) AddListener(ctx context.Context, nqn string, cfg ListenerConfig) (Address, error) {
	setDefault(&cfg.Address.ADRFAM, IPv4)
	setDefault(&cfg.ANAState, nvme.ANAOptimized)
	at, err := cfg.Address.parse()
	if err != nil {
		return Address{}, err
	}
	if err := checkANAState(cfg.ANAState); err != nil {
		return Address{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(nqn)
	if err != nil {
		return Address{}, err
	}
	if t.transport == nil {
		return Address{}, errdefs.Wrap(errdefs.FailedPrecondition, ErrNoTransport, "listener of %q", nqn)
	}
	if s.listener(portalKey(at)) != nil {
		return Address{}, errdefs.New(errdefs.AlreadyExists, "subsystem %q listens on %s already", nqn, at)
	}
	if len(s.listeners) >= MaxListeners {
		return Address{}, errdefs.New(errdefs.ResourceExhausted, "subsystem %q has %d listeners, and can have no more", nqn, MaxListeners)
	}
	p, err := t.acquirePortal(ctx, at, cfg.Secure)
	if err != nil {
		return Address{}, err
	}
	cfg.Address.TRSVCID = addressOf(p.at).TRSVCID
	l := &listener{address: cfg.Address, portal: p, secure: cfg.Secure, id: t.nextPortID}
	t.nextPortID++
	l.ana.Store(s.anaStates(cfg.ANAState))
	s.listeners = slices.Insert(s.listeners, 0, l)
	t.discoveryChanged()
	return l.address, nil
}

// RemoveListener stops listening for the subsystem at an address, and disconnects the controllers
// that came through it. An address where it does not listen is NotFound with ErrNoListener.
func (t *Target) RemoveListener(ctx context.Context, nqn string, address Address) error {
	at, err := address.parse()
	if err != nil {
		return err
	}
	t.mu.Lock()
	s, err := t.find(nqn)
	if err != nil {
		t.mu.Unlock()
		return err
	}
	l := s.listener(portalKey(at))
	if l == nil {
		t.mu.Unlock()
		return errdefs.Wrap(errdefs.NotFound, ErrNoListener, "listener %s of subsystem %q", at, nqn)
	}
	s.listeners = slices.DeleteFunc(s.listeners, func(o *listener) bool { return o == l })
	through := func(c *controller) bool { return c.listener == l }
	s.disconnect("listener removed", through)
	last := t.releasePortal(l.portal)
	t.discoveryChanged()
	t.mu.Unlock()
	if last {
		l.portal.stop()
	}
	return t.waitControllers(ctx, s, through)
}

// listener returns the one at key, or nil. t.mu is held.
func (s *subsystem) listener(key portalKey) *listener {
	for _, l := range s.listeners {
		if l.portal.key == key {
			return l
		}
	}
	return nil
}
