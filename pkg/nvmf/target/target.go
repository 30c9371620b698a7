// SPDX-License-Identifier: Apache-2.0

package target

import (
	"context"
	"log/slog"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// Config is what a target needs. The zero Config works.
type Config struct {
	// Log hears of connections and why they ended; nil for silence.
	Log *slog.Logger
	// Firmware is the firmware revision that controllers show, at most 8 bytes. Default "26.09".
	Firmware string
	// MaxSubsystems bounds their number, the discovery subsystem included. Default 1024.
	MaxSubsystems int
	// MaxUnassociated bounds connections that have not connected a queue yet; more are closed at
	// once. Default 1024.
	MaxUnassociated int
	// WriteCacheMayCome lets a namespace with a write cache be added although connected hosts were
	// told that there is none, as SPDK did before v26.09.
	WriteCacheMayCome bool
}

// Target is an NVMe/TCP target. Its methods may be called concurrently.
type Target struct {
	log           *slog.Logger
	firmware      string
	maxSubsystems int
	maxUnknown    int
	cacheMayCome  bool
	counters      counters
	buffers       bufferPool
	connections   sync.WaitGroup

	// mu guards what follows, the members of subsystems, and the lists of controllers.
	mu         sync.RWMutex
	closed     bool
	transport  *TransportOptions
	subsystems map[string]*subsystem
	portals    map[portalKey]*portal
	keys       map[string]*hostKey // of TLS, by identity
	referrals  []Referral          // newest first
	genctr     uint64
	nextPortID uint16
	// unassociated are connections before Connect.
	unassociated map[*queue]struct{}
}

// New returns a target that has a discovery subsystem, open to every host, and listens nowhere.
func New(cfg Config) (*Target, error) {
	setDefault(&cfg.Firmware, "26.09")
	setDefault(&cfg.MaxSubsystems, 1024)
	setDefault(&cfg.MaxUnassociated, 1024)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if len(cfg.Firmware) > 8 {
		return nil, errdefs.InvalidField("firmware", "%q is longer than 8 bytes", cfg.Firmware)
	}
	if cfg.MaxSubsystems < 1 {
		return nil, errdefs.InvalidField("max_subsystems", "%d is not positive", cfg.MaxSubsystems)
	}
	if cfg.MaxUnassociated < 1 {
		return nil, errdefs.InvalidField("max_unassociated", "%d is not positive", cfg.MaxUnassociated)
	}
	t := &Target{
		log:           cfg.Log,
		firmware:      cfg.Firmware,
		maxSubsystems: cfg.MaxSubsystems,
		maxUnknown:    cfg.MaxUnassociated,
		cacheMayCome:  cfg.WriteCacheMayCome,
		subsystems:    map[string]*subsystem{},
		portals:       map[portalKey]*portal{},
		keys:          map[string]*hostKey{},
		unassociated:  map[*queue]struct{}{},
	}
	d := SubsystemConfig{NQN: nvme.DiscoveryNQN, AllowAnyHost: true}
	d.setDefaults()
	t.subsystems[d.NQN] = newSubsystem(d)
	return t, nil
}

// Close stops listening, disconnects every host and returns when all goroutines have ended and no
// device is in use any more. Later calls of methods that change something fail with ErrClosed.
func (t *Target) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		t.connections.Wait()
		return nil
	}
	t.closed = true
	names := make([]string, 0, len(t.subsystems))
	for nqn := range t.subsystems {
		names = append(names, nqn)
	}
	portals := make([]*portal, 0, len(t.portals))
	for _, p := range t.portals {
		portals = append(portals, p)
	}
	for q := range t.unassociated {
		q.fail("target closed")
	}
	t.mu.Unlock()
	for _, p := range portals {
		p.stop()
	}
	for _, nqn := range names {
		// It can fail only because somebody else deletes the same one.
		_ = t.deleteSubsystem(context.Background(), nqn)
	}
	t.connections.Wait()
	return nil
}

// find returns the subsystem, or why it cannot be changed. t.mu is held.
func (t *Target) find(nqn string) (*subsystem, error) {
	if t.closed {
		return nil, errdefs.Wrap(errdefs.Unavailable, ErrClosed, "subsystem %q", nqn)
	}
	s := t.subsystems[nqn]
	if s == nil {
		return nil, noSubsystem(nqn)
	}
	if s.deleting {
		return nil, errdefs.Wrap(errdefs.Aborted, ErrDeleting, "subsystem %q", nqn)
	}
	return s, nil
}

// SetMaxSubsystems bounds the number of subsystems from now on, the discovery subsystem included.
func (t *Target) SetMaxSubsystems(most int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.maxSubsystems = most
}
