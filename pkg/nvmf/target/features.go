// SPDX-License-Identifier: Apache-2.0

package target

import (
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// hostBehaviorSize is the size of the data of feature FeatureHostBehavior in bytes (base 5.27.1.18).
const hostBehaviorSize = 512

// features are the values that hosts may set and get and that the target does nothing with, by FID.
type features struct {
	values   map[uint8]uint32
	behavior [hostBehaviorSize]byte
}

// setDefaults fills in what a new controller has.
func (f *features) setDefaults(c *controller) {
	f.values = map[uint8]uint32{
		nvme.FeatureArbitration:         0,
		nvme.FeaturePowerManagement:     0,
		nvme.FeatureTemperature:         0,
		nvme.FeatureErrorRecovery:       0,
		nvme.FeatureWriteAtomicity:      0,
		nvme.FeatureInterruptCoalescing: 0,
		nvme.FeatureInterruptVector:     1 << 16, // coalescing is off
		nvme.FeatureWriteCache:          0,
	}
	if c.subsystem.writeCache {
		f.values[nvme.FeatureWriteCache] = 1
	}
}

// setFeature carries out Set Features (base 5.27).
func (c *controller) setFeature(e nvme.SQE, data []byte) (status nvme.Status, dw0 uint32) {
	const bad = nvme.StatusInvalidField | nvme.DNR
	fid, value := e.FID(), e.CDW(11)
	if e.SV() {
		return nvme.StatusFeatureNotSaveable | nvme.DNR, 0
	}
	if nsid := e.NSID(); nsid > c.subsystem.cfg.MaxNamespaces && nsid != nvme.NSIDBroadcast {
		return nvme.StatusInvalidNamespace | nvme.DNR, 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch fid {
	case nvme.FeatureKeepAlive:
		if value == 0 {
			return nvme.StatusKeepAliveInvalid | nvme.DNR, 0
		}
		c.setKATO(value)
		return nvme.Success, 0
	case nvme.FeatureAsyncEvents:
		c.events.config = value
		return nvme.Success, 0
	}
	if c.subsystem.discovery {
		return bad, 0
	}
	switch fid {
	case nvme.FeatureNumberOfQueues:
		if value&0xFFFF == 0xFFFF || value>>16 == 0xFFFF {
			return bad, 0
		}
		if len(c.queues) > 1 {
			return nvme.StatusCommandSequence | nvme.DNR, 0
		}
		return nvme.Success, c.numberOfQueues()
	case nvme.FeatureHostBehavior:
		if len(data) < hostBehaviorSize {
			return bad, 0
		}
		copy(c.features.behavior[:], data)
		return nvme.Success, 0
	case nvme.FeatureHostID:
		return nvme.StatusCommandSequence | nvme.DNR, 0 // Connect has set it
	case nvme.FeatureInterruptCoalescing, nvme.FeatureInterruptVector:
		return nvme.StatusFeatureNotChangeable | nvme.DNR, 0
	case nvme.FeaturePowerManagement:
		if value&0x1F != 0 {
			return bad, 0 // there is power state 0 only
		}
	case nvme.FeatureWriteCache:
		value &= 1
	}
	if _, ok := c.features.values[fid]; !ok {
		return bad, 0
	}
	c.features.values[fid] = value
	return nvme.Success, 0
}

// numberOfQueues is what the host gets, whatever it asked for: the same as SPDK does.
func (c *controller) numberOfQueues() uint32 {
	return nvme.NumberOfQueues(c.opts.MaxIOQpairsPerController, c.opts.MaxIOQpairsPerController)
}

// getFeature carries out Get Features (base 5.15).
func (q *queue) getFeature(e nvme.SQE) error {
	c := q.controller
	switch e.FID() {
	case nvme.FeatureHostID:
		if !c.subsystem.discovery {
			return q.answerPage(e, c.hostIDPage)
		}
	case nvme.FeatureHostBehavior:
		if !c.subsystem.discovery {
			return q.answerPage(e, c.hostBehaviorPage)
		}
	}
	value, status := c.feature(e.FID())
	if nsid := e.NSID(); nsid > c.subsystem.cfg.MaxNamespaces && nsid != nvme.NSIDBroadcast {
		status = nvme.StatusInvalidNamespace | nvme.DNR
	}
	q.answer(e.CID(), status, value)
	return nil
}

func (c *controller) feature(fid uint8) (uint32, nvme.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch fid {
	case nvme.FeatureKeepAlive:
		return uint32(c.kato / time.Millisecond), nvme.Success //nolint:gosec // setKATO rounds at most to the next step
	case nvme.FeatureAsyncEvents:
		return c.events.config, nvme.Success
	case nvme.FeatureNumberOfQueues:
		if !c.subsystem.discovery {
			return c.numberOfQueues(), nvme.Success
		}
	}
	value, ok := c.features.values[fid]
	if !ok || c.subsystem.discovery {
		return 0, nvme.StatusInvalidField | nvme.DNR
	}
	return value, nvme.Success
}

// hostIDPage returns the host identifier of 128 bits; fabrics know no other.
func (c *controller) hostIDPage(e nvme.SQE, page []byte) nvme.Status {
	if e.CDW(11)&1 == 0 || len(page) < len(c.hostID) {
		return nvme.StatusInvalidField | nvme.DNR
	}
	copy(page, c.hostID[:])
	return nvme.Success
}

func (c *controller) hostBehaviorPage(_ nvme.SQE, page []byte) nvme.Status {
	if len(page) < hostBehaviorSize {
		return nvme.StatusInvalidField | nvme.DNR
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	copy(page, c.features.behavior[:])
	return nvme.Success
}
