// SPDX-License-Identifier: Apache-2.0

package target

import (
	"context"
	"math/bits"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// NamespaceConfig describes a namespace. All of it is immutable.
type NamespaceConfig struct {
	// NSID is the identifier; 0 takes the lowest free one.
	NSID uint32
	// Device holds the blocks; required. The data of a block is a power of two from 512 to 65536 bytes.
	// It stays the caller's: the target uses it until the namespace has been removed. A device with
	// a method Memory (as bdev.Desc has) or one that is a bdev.Memory is read in place.
	Device bdev.Device
	// MetadataBytes is how much of each block of Device is metadata, which follows the data.
	MetadataBytes uint16
	// BdevName is shown in lists.
	BdevName string
	// UUID, NGUID and EUI64 identify the namespace to hosts; all zero is none.
	UUID  uuid.UUID
	NGUID [16]byte
	EUI64 [8]byte
	// WriteCache says that writes may be lost before a flush.
	WriteCache bool
	// ANAGRPID is the group for asymmetric access, 1 to MaxNamespaces. Default NSID.
	ANAGRPID uint32
	// OptimalWriteSizeBlocks is shown as NOWS. Default the largest transfer.
	OptimalWriteSizeBlocks uint16
	// Released, if set, is called once when the target will not touch Device again.
	Released func()
}

// dataBytes is the size of a block without its metadata.
func (c *NamespaceConfig) dataBytes() uint32 {
	return c.Device.Geometry().BlockSizeBytes - uint32(c.MetadataBytes)
}

// AddNamespace adds a namespace and tells connected hosts. It returns the identifier. One that is
// taken is AlreadyExists; out of range or a bad device, InvalidArgument; none free,
// ResourceExhausted; the discovery subsystem, or ErrWriteCache, FailedPrecondition.
func (t *Target) AddNamespace(nqn string, cfg NamespaceConfig) (uint32, error) {
	if cfg.Device == nil {
		return 0, errdefs.InvalidField("device", "a namespace of %q needs one", nqn)
	}
	size := cfg.dataBytes()
	if bits.OnesCount32(size) != 1 || size < 512 || size > 65536 {
		return 0, errdefs.InvalidField("device", "block size %d of %q is not a power of two from 512 to 65536", size, cfg.BdevName)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(nqn)
	if err != nil {
		return 0, err
	}
	if s.discovery {
		return 0, errdefs.New(errdefs.FailedPrecondition, "the discovery subsystem has no namespaces")
	}
	if err := s.place(&cfg); err != nil {
		return 0, err
	}
	if cfg.WriteCache && s.unaware() && !t.cacheMayCome {
		return 0, errdefs.Wrap(errdefs.FailedPrecondition, ErrWriteCache, "namespace %d of %q", cfg.NSID, nqn)
	}
	s.namespaces[cfg.NSID] = newNamespace(cfg)
	s.namespacesChanged(cfg.NSID)
	return cfg.NSID, nil
}

// unaware says whether a host is connected that was told there is no write cache. t.mu is held.
func (s *subsystem) unaware() bool {
	for _, c := range s.controllers {
		if !c.writeCache {
			return true
		}
	}
	return false
}

// place gives cfg its identifier and group, or says why it cannot. t.mu is held.
func (s *subsystem) place(cfg *NamespaceConfig) error {
	most := s.cfg.MaxNamespaces
	if cfg.NSID == 0 {
		cfg.NSID = 1
		for s.namespaces[cfg.NSID] != nil {
			cfg.NSID++
		}
		if cfg.NSID > most {
			return errdefs.New(errdefs.ResourceExhausted, "subsystem %q has %d namespaces, the most it takes", s.cfg.NQN, most)
		}
	}
	if cfg.NSID > most {
		return errdefs.InvalidField("nsid", "%d is above %d, the highest of subsystem %q", cfg.NSID, most, s.cfg.NQN)
	}
	if s.namespaces[cfg.NSID] != nil {
		return errdefs.New(errdefs.AlreadyExists, "subsystem %q has a namespace %d", s.cfg.NQN, cfg.NSID)
	}
	setDefault(&cfg.ANAGRPID, cfg.NSID)
	if cfg.ANAGRPID > most {
		return errdefs.InvalidField("anagrpid", "%d is above %d, the highest of subsystem %q", cfg.ANAGRPID, most, s.cfg.NQN)
	}
	return nil
}

// RemoveNamespace removes a namespace, tells connected hosts, and returns when requests in flight
// have ended; later ones fail with Invalid Namespace. When ctx ends first the removal goes on. A
// queue whose host does not take its answers would hold this up, so it is cut off after a while.
func (t *Target) RemoveNamespace(ctx context.Context, nqn string, nsid uint32) error {
	t.mu.Lock()
	s, err := t.find(nqn)
	if err != nil {
		t.mu.Unlock()
		return err
	}
	ns := s.namespaces[nsid]
	if ns == nil {
		t.mu.Unlock()
		return errdefs.Wrap(errdefs.NotFound, ErrNoNamespace, "namespace %d of subsystem %q", nsid, nqn)
	}
	delete(s.namespaces, nsid)
	s.namespacesChanged(nsid)
	t.connections.Go(ns.drain)
	t.mu.Unlock()
	select {
	case <-ns.gone:
		return nil
	case <-ctx.Done():
		return errdefs.Wrap(errdefs.OutcomeUnknown, context.Cause(ctx), "namespace %d of %q still has requests in flight", nsid, nqn)
	}
}

// NamespaceResized tells connected hosts that the device of a namespace has another size.
func (t *Target) NamespaceResized(nqn string, nsid uint32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(nqn)
	if err != nil {
		return err
	}
	if s.namespaces[nsid] == nil {
		return errdefs.Wrap(errdefs.NotFound, ErrNoNamespace, "namespace %d of subsystem %q", nsid, nqn)
	}
	s.tell(nsid)
	return nil
}

// namespacesChanged publishes the namespaces and tells hosts about one of them. t.mu is held for
// writing.
func (s *subsystem) namespacesChanged(nsid uint32) {
	cached := len(s.namespaces) == 0
	for _, ns := range s.namespaces {
		cached = cached || ns.cfg.WriteCache
	}
	s.writeCache = cached
	s.publish()
	s.tell(nsid)
}

// tell queues the event for every controller. t.mu is held.
func (s *subsystem) tell(nsid uint32) {
	for _, c := range s.controllers {
		c.namespaceChanged(nsid)
	}
}

// identify returns what hosts see of ns; maxIO is the largest transfer in bytes.
func (ns *namespace) identify(maxIO uint32, anaReporting bool) nvme.IdentifyNamespace {
	g := ns.cfg.Device.Geometry()
	d := nvme.IdentifyNamespace{
		NSZE: g.Blocks, NCAP: g.Blocks, NUSE: g.Blocks,
		NSFEAT: nvme.NSFEATOptimal | nvme.NSFEATAtomic,
		NMIC:   nvme.NMICShared,
		NOWS:   uint16(min(maxIO>>ns.shift, 65536) - 1),
		NGUID:  ns.cfg.NGUID, EUI64: ns.cfg.EUI64,
	}
	if ns.cfg.OptimalWriteSizeBlocks > 0 {
		d.NOWS = ns.cfg.OptimalWriteSizeBlocks - 1
	}
	if anaReporting {
		d.ANAGRPID = ns.cfg.ANAGRPID
	}
	// Copy goes through one buffer: one source range of at most the largest transfer.
	d.MSSRL = uint16(min(maxIO>>ns.shift, 65535))
	d.MCL = uint32(d.MSSRL)
	d.LBAF[0] = nvme.LBAFormat{LBADS: ns.shift, MS: ns.cfg.MetadataBytes}
	if ns.cfg.MetadataBytes > 0 {
		d.FLBAS, d.MC = nvme.FLBASExtended, nvme.MCExtended
	}
	return d
}
