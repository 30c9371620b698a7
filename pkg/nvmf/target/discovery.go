// SPDX-License-Identifier: Apache-2.0

package target

import (
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// discoveryChanged counts a change of the discovery log, and tells discovery controllers. t.mu is
// held for writing.
func (t *Target) discoveryChanged() {
	t.genctr++
	d := t.subsystems[nvme.DiscoveryNQN]
	if d == nil {
		return
	}
	for _, c := range d.controllers {
		c.post(nvme.EventDiscoveryChanged)
	}
}

// discoveryLog returns the log page with the listeners that the host may use.
func (c *controller) discoveryLog() []byte {
	t := c.target
	t.mu.RLock()
	defer t.mu.RUnlock()
	names := make([]string, 0, len(t.subsystems))
	for nqn, s := range t.subsystems {
		if s.allows(c.hostNQN) && !s.deleting {
			names = append(names, nqn)
		}
	}
	slices.Sort(names)
	var entries []nvme.DiscoveryEntry
	for _, nqn := range names {
		s := t.subsystems[nqn]
		for _, l := range s.listeners {
			entries = append(entries, l.entry(s, c.opts.MaxAQDepth))
		}
	}
	for _, r := range t.referrals {
		entries = append(entries, r.entry(c.opts.MaxAQDepth))
	}
	return nvme.EncodeDiscovery(t.genctr, entries)
}

func (l *listener) entry(s *subsystem, depth uint16) nvme.DiscoveryEntry {
	e := nvme.DiscoveryEntry{
		TRTYPE: nvme.TRTYPETCP, ADRFAM: l.address.family(), SUBTYPE: nvme.SubtypeNVM, TREQ: nvme.TREQSecureNotRequired,
		PORTID: l.id, CNTLID: nvme.CNTLIDDynamic, ASQSZ: depth,
		TRSVCID: l.address.TRSVCID, SUBNQN: s.cfg.NQN, TRADDR: l.address.TRADDR,
	}
	if l.portal.secure {
		e.TREQ, e.SECTYPE = nvme.TREQSecureRequired, nvme.SECTYPETLS13
	}
	if s.discovery {
		e.SUBTYPE = nvme.SubtypeDiscovery
		e.EFLAGS = nvme.EFLAGSDuplicate | nvme.EFLAGSPersistentSupport
	}
	return e
}
