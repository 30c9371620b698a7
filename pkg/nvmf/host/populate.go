// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// moduleNVMe is the module name of the bdevs.
const moduleNVMe = "nvme"

// restrict lowers the limits of the device to those of a further controller.
func (d *device) restrict(l limits) {
	if old := d.limits.Load(); old != nil {
		l.transferBytes = min(l.transferBytes, old.transferBytes)
		l.zeroBytes = min(l.zeroBytes, old.zeroBytes)
		l.unmapBlocks = min(l.unmapBlocks, old.unmapBlocks)
	}
	d.limits.Store(&l)
}

// add makes a namespace of the path known: as a path of the device that is there, or as a new bdev.
func (p *path) add(a *association, info *nsInfo) error {
	io := &ioPath{path: p, nsid: info.nsid, identity: info.identity, shared: info.shared, group: info.group}
	io.ana.Store(uint32(nvme.ANAOptimized))
	h := p.host
	h.mu.Lock()
	if _, known := p.namespaces[info.nsid]; known {
		h.mu.Unlock()
		return nil
	}
	d := p.ctrl.devices[info.nsid]
	if d != nil {
		if d.identity != info.identity {
			h.mu.Unlock()
			return fmt.Errorf("namespace %d over this path is not the one that bdev %q has", info.nsid, d.name)
		}
		p.namespaces[info.nsid] = io
		set := d.paths.Load()
		d.paths.Store(&pathSet{list: append(slices.Clone(set.list), io), policy: set.policy})
		d.restrict(a.limits)
		h.mu.Unlock()
		d.wake()
		return nil
	}
	d = newDevice(p.ctrl, a, info, io)
	p.namespaces[info.nsid] = io
	p.ctrl.devices[info.nsid] = d
	h.mu.Unlock()

	if _, err := h.cfg.Registry.Register(d.spec(a, info)); err != nil {
		h.mu.Lock()
		delete(p.ctrl.devices, info.nsid)
		for _, q := range p.ctrl.paths {
			delete(q.namespaces, info.nsid)
		}
		delete(p.namespaces, info.nsid)
		h.mu.Unlock()
		return err //nolint:wrapcheck // it names the bdev and what stands in its way
	}
	return nil
}

func newDevice(c *controller, a *association, info *nsInfo, io *ioPath) *device {
	d := &device{
		ctrl: c, nsid: info.nsid, name: fmt.Sprintf("%sn%d", c.name, info.nsid),
		block: info.geometry.BlockSizeBytes, identity: info.identity,
		caps: capabilities{
			compare: a.ident.ONCS&nvme.ONCSCompare != 0, unmap: a.ident.ONCS&nvme.ONCSDSM != 0,
			zeroes: a.ident.ONCS&nvme.ONCSWriteZeroes != 0, flush: a.ident.VWC&nvme.VWCPresent != 0,
		},
	}
	d.blocks.Store(info.geometry.Blocks)
	d.restrict(a.limits)
	d.paths.Store(&pathSet{list: []*ioPath{io}, policy: c.policy})
	return d
}

// spec is what to register.
func (d *device) spec(a *association, info *nsInfo) bdev.Spec {
	id := info.identity.bdevUUID()
	if id == uuid.Nil && d.ctrl.host.Options().GenerateUUIDs {
		id = generatedUUID(a.ident.SN, info.nsid)
	}
	types := bdev.IORead | bdev.IOWrite | bdev.IOFlush | bdev.IOReset | bdev.IONVMeAdmin | bdev.IONVMe | bdev.IOAbort
	if d.caps.unmap {
		types |= bdev.IOUnmap
	}
	if d.caps.zeroes {
		types |= bdev.IOWriteZeroes
	}
	if d.caps.compare {
		types |= bdev.IOCompare
	}
	if a.ident.FUSES&1 != 0 {
		types |= bdev.IOCompareAndWrite
	}
	if info.metadata.SizeBytes > 0 {
		types |= bdev.IONVMeMD
	}
	const oncsCopy = 1 << 8
	if a.ident.ONCS&oncsCopy != 0 {
		types |= bdev.IOCopy
	}
	return bdev.Spec{
		Name: d.name, UUID: id, Module: moduleNVMe, Product: "NVMe disk", Metadata: info.metadata, Hints: info.hints,
		IOTypes: types, WriteCache: d.caps.flush, NUMA: true, MemoryDomains: []string{"DMA"},
		DriverSpecific: d.driverSpecific, Device: d,
	}
}

// lose takes a namespace of the path away. It returns the device if that has no path left and is to
// be unregistered. The caller holds Host.mu.
func (p *path) lose(nsid uint32) *device {
	io, d := p.namespaces[nsid], p.ctrl.devices[nsid]
	delete(p.namespaces, nsid)
	if io == nil || d == nil {
		return nil
	}
	set := d.paths.Load()
	list := slices.DeleteFunc(slices.Clone(set.list), func(q *ioPath) bool { return q == io })
	d.paths.Store(&pathSet{list: list, policy: set.policy})
	d.forget(io)
	if len(list) > 0 {
		return nil
	}
	delete(p.ctrl.devices, nsid)
	return d
}

// check looks at namespaces that may have changed, all if list is nil. Of a namespace that is known
// only the size is taken over: identity and block size stay what they were, as in SPDK.
func (p *path) check(ctx context.Context, a *association, list []uint32) {
	active, err := a.active(ctx)
	if err != nil {
		p.log.Warn("namespaces not checked", "err", err)
		return
	}
	if list == nil {
		p.host.mu.Lock()
		for nsid := range p.namespaces {
			list = append(list, nsid)
		}
		p.host.mu.Unlock()
		list = append(list, active...)
		slices.Sort(list)
		list = slices.Compact(list)
	}
	for _, nsid := range list {
		if _, found := slices.BinarySearch(active, nsid); found {
			p.checkActive(ctx, a, nsid)
		} else {
			p.checkGone(ctx, nsid)
		}
	}
	p.readAccess(ctx, a)
}

// checkActive takes over the size of a namespace, or adds a new one.
func (p *path) checkActive(ctx context.Context, a *association, nsid uint32) {
	info, err := a.namespace(ctx, nsid)
	if err != nil {
		p.log.Warn("namespace left as it is", "nsid", nsid, "err", err)
		return
	}
	if info.geometry.Blocks == 0 { // it has gone in between, and an event will say so
		return
	}
	p.host.mu.Lock()
	_, known := p.namespaces[nsid]
	d := p.ctrl.devices[nsid]
	p.host.mu.Unlock()
	if !known || d == nil {
		err = p.add(a, info)
	} else if d.blocks.Load() != info.geometry.Blocks {
		err = p.host.cfg.Registry.Resize(d.name, info.geometry.Blocks)
	}
	if err != nil && !errors.Is(err, errdefs.NotFound) {
		p.log.Warn("namespace not taken over", "nsid", nsid, "err", err)
	}
}

// checkGone removes a namespace that is not there any more, and the bdev with its last path.
func (p *path) checkGone(ctx context.Context, nsid uint32) {
	h := p.host
	h.mu.Lock()
	d := p.lose(nsid)
	h.mu.Unlock()
	if d == nil {
		return
	}
	h.tasks.Go(func() {
		h.unregister(context.WithoutCancel(ctx), d)
		p.requestRescan() // the identifier may be in use again already
	})
}

// readAccess finds out which of the known namespaces are there, and takes over their access states.
func (p *path) readAccess(ctx context.Context, a *association) {
	active, err := a.active(ctx)
	var states map[uint32]nvme.ANAState
	if err == nil {
		states, err = a.anaStates(ctx)
	}
	if err != nil {
		p.log.Warn("access to the namespaces is unknown", "err", err)
		return
	}
	p.host.mu.Lock()
	for nsid, io := range p.namespaces {
		_, there := slices.BinarySearch(active, nsid)
		if io.missing.Swap(!there) == there {
			p.log.Info("namespace is back, or missing for now", "nsid", nsid, "missing", !there)
		}
		if s, ok := states[io.group]; ok {
			io.ana.Store(uint32(s))
		}
		if d := p.ctrl.devices[nsid]; d != nil {
			d.forget(nil)
		}
	}
	p.host.mu.Unlock()
	p.wakeDevices()
}

// incomplete says whether a namespace is missing.
func (p *path) incomplete() bool {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	for _, io := range p.namespaces {
		if io.missing.Load() {
			return true
		}
	}
	return false
}
