// SPDX-License-Identifier: Apache-2.0

package target

import (
	"errors"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// ErrNoReferral says that there is no such referral.
var ErrNoReferral = errors.New("no such referral")

// Referral is another place that the discovery log points hosts to.
type Referral struct {
	// Address is where it is. It is not connected to.
	Address Address
	// NQN is that of a subsystem there. Default the discovery subsystem's.
	NQN string
	// SecureChannel says that hosts need TLS there.
	SecureChannel bool
}

// check fills in defaults and returns the key by which two referrals are the same.
func (r *Referral) check() error {
	setDefault(&r.Address.ADRFAM, IPv4)
	setDefault(&r.NQN, nvme.DiscoveryNQN)
	if _, err := r.Address.parse(); err != nil {
		return err
	}
	if r.NQN != nvme.DiscoveryNQN {
		if err := nvme.ValidateNQN(r.NQN); err != nil {
			return errdefs.Wrap(errdefs.InvalidArgument, err, "referral")
		}
	}
	return nil
}

// AddReferral adds a referral to the discovery log and tells connected discovery controllers. One
// that is there already stays as it is.
func (t *Target) AddReferral(r Referral) error {
	if err := r.check(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.referral(&r) < 0 {
		t.referrals = slices.Insert(t.referrals, 0, r)
		t.discoveryChanged()
	}
	return nil
}

// RemoveReferral takes a referral out of the discovery log, found by address and NQN. One that is not
// there is NotFound with ErrNoReferral.
func (t *Target) RemoveReferral(r Referral) error {
	if err := r.check(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.referral(&r)
	if i < 0 {
		return errdefs.Wrap(errdefs.NotFound, ErrNoReferral, "to %q at %s port %s", r.NQN, r.Address.TRADDR, r.Address.TRSVCID)
	}
	t.referrals = slices.Delete(t.referrals, i, i+1)
	t.discoveryChanged()
	return nil
}

// Referrals returns the referrals, newest first.
func (t *Target) Referrals() []Referral {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clone(t.referrals)
}

// referral returns the place of an equal referral, or -1. t.mu is held.
func (t *Target) referral(r *Referral) int {
	return slices.IndexFunc(t.referrals, func(o Referral) bool { return o.Address == r.Address && o.NQN == r.NQN })
}

func (r *Referral) entry(depth uint16) nvme.DiscoveryEntry {
	e := nvme.DiscoveryEntry{
		TRTYPE: nvme.TRTYPETCP, ADRFAM: r.Address.family(), SUBTYPE: nvme.SubtypeNVM, TREQ: nvme.TREQSecureNotRequired,
		CNTLID: nvme.CNTLIDDynamic, ASQSZ: depth,
		TRSVCID: r.Address.TRSVCID, SUBNQN: r.NQN, TRADDR: r.Address.TRADDR,
	}
	if r.NQN == nvme.DiscoveryNQN {
		e.SUBTYPE = nvme.SubtypeReferral
	}
	if r.SecureChannel {
		e.TREQ = nvme.TREQSecureRequired
	}
	return e
}
