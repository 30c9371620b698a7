// SPDX-License-Identifier: Apache-2.0

package target

import (
	"context"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// HostConfig describes a host that may connect.
type HostConfig struct {
	// NQN is the host's name.
	NQN string
	// PSK is with what the host may connect through listeners with TLS; nil for not at all.
	PSK *nvme.PSK
}

// AddHost lets a host connect to the subsystem. A host that is listed is AlreadyExists, a malformed
// name, and names too long for TLS, InvalidArgument.
func (t *Target) AddHost(nqn string, cfg HostConfig) error {
	host := cfg.NQN
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(nqn)
	if err != nil {
		return err
	}
	if err := nvme.ValidateNQN(host); err != nil {
		return errdefs.Wrap(errdefs.InvalidArgument, err, "host of subsystem %q", nqn)
	}
	if slices.Contains(s.hosts, host) {
		return errdefs.New(errdefs.AlreadyExists, "host %q is listed in subsystem %q already", host, nqn)
	}
	if cfg.PSK != nil {
		k, err := newHostKey(*cfg.PSK, nqn, host)
		if err != nil {
			return err
		}
		t.keys[k.psk.Identity], s.keys[host] = k, k
	}
	s.hosts = slices.Insert(s.hosts, 0, host)
	t.discoveryChanged()
	return nil
}

// RemoveHost takes a host off the list, disconnects its controllers, and
// returns when they are gone. When ctx ends first they still go. An unlisted host is NotFound with
// ErrNoHost.
func (t *Target) RemoveHost(ctx context.Context, nqn, host string) error {
	t.mu.Lock()
	s, err := t.find(nqn)
	if err != nil {
		t.mu.Unlock()
		return err
	}
	i := slices.Index(s.hosts, host)
	if i < 0 {
		t.mu.Unlock()
		return errdefs.Wrap(errdefs.NotFound, ErrNoHost, "host %q of subsystem %q", host, nqn)
	}
	s.hosts = slices.Delete(s.hosts, i, i+1)
	t.dropKey(s, host)
	gone := map[*controller]bool{}
	for _, c := range s.controllers {
		if c.hostNQN == host {
			gone[c] = true
		}
	}
	ofHost := func(c *controller) bool { return gone[c] }
	s.disconnect("host removed", ofHost)
	t.discoveryChanged()
	t.mu.Unlock()
	return t.waitControllers(ctx, s, ofHost)
}

// SetAllowAnyHost lets every host connect, or only those listed. It disconnects nobody.
func (t *Target) SetAllowAnyHost(nqn string, allow bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(nqn)
	if err != nil {
		return err
	}
	s.cfg.AllowAnyHost = allow
	t.discoveryChanged()
	return nil
}

// allows says whether the host may connect. t.mu is held.
func (s *subsystem) allows(host string) bool {
	return s.cfg.AllowAnyHost || slices.Contains(s.hosts, host)
}
