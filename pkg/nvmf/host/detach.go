// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// DetachFilter says what to detach (bdev_nvme_detach_controller). Empty members fit everything.
type DetachFilter struct {
	// Name of the controller; required.
	Name string
	// Trid are the members of the address that must be equal.
	Trid TransportID
	// HostAddr and HostSvcID are the local address and port.
	HostAddr, HostSvcID string
}

// fits says whether an address passes the filter.
func (f *DetachFilter) fits(t TransportID, hostaddr, hostsvcid string) bool {
	same := func(want, have string) bool { return want == "" || want == have }
	return same(f.Trid.Trtype, t.Trtype) && same(f.Trid.Adrfam, t.Adrfam) && same(f.Trid.Traddr, t.Traddr) &&
		same(f.Trid.Trsvcid, t.Trsvcid) && same(f.Trid.Subnqn, t.Subnqn) &&
		same(f.HostAddr, hostaddr) && same(f.HostSvcID, hostsvcid)
}

// Detach removes the paths of a controller that pass the filter, and the bdevs that have no other.
// It returns when they are gone, or after the host's DetachTimeout with ETIMEDOUT; then the removal
// goes on. An unknown controller is NotFound (ENODEV); so is a filter that fits no path (ENXIO).
func (h *Host) Detach(ctx context.Context, f DetachFilter) error {
	f.Trid = f.Trid.normalize()
	h.mu.Lock()
	c := h.find(f.Name)
	if c == nil {
		h.mu.Unlock()
		return noController(f.Name)
	}
	paths := slices.Clone(c.paths)
	h.mu.Unlock()

	found := false
	var going []*path
	for _, p := range paths {
		switch p.forgetAddresses(&f) {
		case keepAll:
		case keepOthers:
			found = true
		case leaveCurrent:
			found = true
			if err := p.ask(ctx, opSwitch); err != nil {
				return err
			}
		case keepNone:
			found = true
			going = append(going, p)
		}
	}
	if !found {
		return errdefs.Wrap(errdefs.NotFound, syscall.ENXIO, "no path of NVMe controller %q fits", f.Name)
	}
	for _, p := range going {
		p.remove()
	}
	timer := time.NewTimer(h.cfg.DetachTimeout)
	defer timer.Stop()
	for _, p := range going {
		select {
		case <-p.gone:
		case <-timer.C:
			return errdefs.Wrap(errdefs.DeadlineExceeded, syscall.ETIMEDOUT,
				"NVMe controller %q is still being detached: a user of its bdevs does not let go", f.Name)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// remainder says what a path is left with when addresses are taken from it.
type remainder uint8

const (
	keepAll      remainder = iota // nothing fitted
	keepOthers                    // addresses in reserve have gone
	leaveCurrent                  // the address in use is to go, others are there
	keepNone
)

// forgetAddresses takes the addresses in reserve away that pass the filter, and says what remains.
func (p *path) forgetAddresses(f *DetachFilter) remainder {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.others)
	p.others = slices.DeleteFunc(p.others, func(t TransportID) bool { return f.fits(t, p.set.hostaddr, p.set.hostsvcid) })
	switch {
	case !f.fits(p.set.trid, p.set.hostaddr, p.set.hostsvcid):
		if len(p.others) == before {
			return keepAll
		}
		return keepOthers
	case len(p.others) > 0:
		return leaveCurrent
	default:
		return keepNone
	}
}
