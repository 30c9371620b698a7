// SPDX-License-Identifier: Apache-2.0

package host

import "github.com/opi-bridge/opi-bridge/pkg/nvme"

// choose returns the path for the next request, or nil when none can be used now. Optimized paths go
// before others; among equals the policy decides.
func (d *device) choose(set *pathSet) *ioPath {
	if set.policy.Policy == ActiveActive {
		if p := d.chooseActive(set, nvme.ANAOptimized); p != nil {
			return p
		}
		return d.chooseActive(set, nvme.ANANonOptimized)
	}
	if p := d.current.Load(); p != nil && p.association() != nil && p.accessible() {
		return p
	}
	var second *ioPath
	for _, p := range set.list {
		if p.association() == nil {
			continue
		}
		switch p.state() { //nolint:exhaustive // the other states do not let I/O through
		case nvme.ANAOptimized:
			d.current.Store(p)
			return p
		case nvme.ANANonOptimized:
			if second == nil {
				second = p
			}
		}
	}
	d.current.Store(second)
	return second
}

// chooseActive spreads requests over the paths in one state.
func (d *device) chooseActive(set *pathSet, state nvme.ANAState) *ioPath {
	n := uint64(len(set.list))
	if n == 0 {
		return nil
	}
	if set.policy.Selector == QueueDepth {
		var best *ioPath
		for _, p := range set.list {
			if p.state() == state && p.association() != nil &&
				(best == nil || p.inflight.Load() < best.inflight.Load()) {
				best = p
			}
		}
		return best
	}
	inARow := uint64(1)
	if set.policy.MinIO != MinIOUnset {
		inARow = uint64(set.policy.MinIO)
	}
	start := (d.turn.Add(1) - 1) / inARow
	for i := range n {
		if p := set.list[(start+i)%n]; p.state() == state && p.association() != nil {
			return p
		}
	}
	return nil
}

// forget has the path looked for anew if it is the current one; nil means whichever it is.
func (d *device) forget(p *ioPath) {
	if p == nil {
		d.current.Store(nil)
		return
	}
	d.current.CompareAndSwap(p, nil)
}
