// SPDX-License-Identifier: Apache-2.0

package host

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// device is a namespace as a block device, over all paths of its controller.
//
// A request that was in flight when its path broke is sent again, perhaps on another path, while the
// controller may still be carrying out the first copy. That is how every NVMe-oF initiator without
// command tracking works, SPDK's too.
type device struct {
	ctrl     *controller
	nsid     uint32
	name     string
	block    uint32 // bytes
	identity identity
	blocks   atomic.Uint64
	caps     capabilities
	parts    sync.Pool // of *part

	// paths is replaced as a whole, under Host.mu.
	paths atomic.Pointer[pathSet]
	// current is the path of an active-passive policy, nil when it is to be looked for.
	current atomic.Pointer[ioPath]
	turn    atomic.Uint64
	limits  atomic.Pointer[limits]

	// epoch changes whenever a path comes or goes, so that nobody begins to wait for what has happened.
	epoch atomic.Uint64
	mu    sync.Mutex
	// waiting are parts without a path; guarded by mu.
	waiting []*part
}

// capabilities is what the controller offers beyond reading and writing.
type capabilities struct{ compare, unmap, zeroes, flush bool }

// pathSet is the paths of a device in order of preference.
type pathSet struct {
	list   []*ioPath
	policy Multipath
}

// ioPath is a namespace over one path.
type ioPath struct {
	path     *path
	nsid     uint32
	identity identity
	shared   bool
	group    uint32 // ANA group
	ana      atomic.Uint32
	// missing is set when the namespace is not there, although nobody has said that it has gone: a
	// target that starts again may show its subsystem before its namespaces.
	missing  atomic.Bool
	inflight atomic.Int64
	stats    pathStats
}

// association returns the connected controller of the path, or nil.
func (p *ioPath) association() *association {
	if a := p.path.assoc.Load(); a != nil && !a.over.Load() {
		return a
	}
	return nil
}

// state is the access state; that of a missing namespace is inaccessible.
func (p *ioPath) state() nvme.ANAState {
	if p.missing.Load() {
		return nvme.ANAInaccessible
	}
	return nvme.ANAState(p.ana.Load()) //nolint:gosec // stored as one
}

// accessible says whether the controller lets I/O through, as far as is known.
func (p *ioPath) accessible() bool {
	s := p.state()
	return s == nvme.ANAOptimized || s == nvme.ANANonOptimized
}

// Geometry implements bdev.Device.
func (d *device) Geometry() bdev.Geometry {
	return bdev.Geometry{BlockSizeBytes: d.block, Blocks: d.blocks.Load()}
}

// SetBlocks implements bdev.Resizer.
func (d *device) SetBlocks(blocks uint64) { d.blocks.Store(blocks) }

// Close implements bdev.Device. The paths belong to the controller.
func (d *device) Close() error { return nil }

// Submit implements bdev.Device.
func (d *device) Submit(r *bdev.Request) {
	var limit uint64
	l := d.limits.Load()
	const blocksMax = 1 << 16 // of one command
	switch r.Op {
	case bdev.OpRead, bdev.OpWrite:
		limit = min(uint64(l.transferBytes)/uint64(d.block), blocksMax)
	case bdev.OpCompare:
		if !d.caps.compare {
			r.Complete(bdev.ErrOp)
			return
		}
		limit = min(uint64(l.transferBytes)/uint64(d.block), blocksMax)
	case bdev.OpWriteZeroes:
		if !d.caps.zeroes {
			r.Complete(bdev.ErrOp)
			return
		}
		limit = min(l.zeroBytes/uint64(d.block), blocksMax)
	case bdev.OpUnmap:
		if !d.caps.unmap {
			r.Complete(nil) // to leave the content as it is will do
			return
		}
		limit = uint64(l.unmapBlocks)
	case bdev.OpFlush:
		if !d.caps.flush {
			r.Complete(nil) // without a write cache everything is durable
			return
		}
		d.dispatch(d.take(r))
		return
	default:
		r.Complete(bdev.ErrOp)
		return
	}
	switch {
	case r.Count == 0:
		r.Complete(nil)
	case r.Count <= limit:
		p := d.take(r)
		p.block, p.count, p.data = r.Block, r.Count, r.Data
		d.dispatch(p)
	default:
		g := &group{dev: d, req: r, limit: max(limit, 1)}
		g.start()
	}
}

// take returns a part for a request.
func (d *device) take(r *bdev.Request) *part {
	p, ok := d.parts.Get().(*part)
	if !ok {
		p = new(part)
	}
	p.dev, p.req = d, r
	return p
}

// release gives a part back.
func (d *device) release(p *part) {
	p.req, p.group, p.data, p.path, p.queue, p.next = nil, nil, nil, nil, nil, nil
	p.block, p.count, p.retries, p.counted = 0, 0, 0, false
	d.parts.Put(p)
}

// dispatch sends a part over a path, or lets it wait for one, or fails it if none will come.
func (d *device) dispatch(p *part) {
	for {
		epoch := d.epoch.Load()
		set := d.paths.Load()
		if path := d.choose(set); path != nil {
			if d.send(p, path, set) {
				return
			}
			continue
		}
		if !slices.ContainsFunc(set.list, func(q *ioPath) bool { return q.path.mayReturn() }) {
			p.end(errNoPath)
			return
		}
		d.mu.Lock()
		if d.epoch.Load() == epoch {
			d.waiting = append(d.waiting, p)
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
	}
}

// send hands a part to a path, and returns false when the path has just gone.
func (d *device) send(p *part, path *ioPath, set *pathSet) bool {
	a := path.association()
	if a == nil {
		return false
	}
	p.path = path
	if d.ctrl.host.countPaths.Load() {
		p.began = time.Now()
	} else {
		p.began = time.Time{}
	}
	if set.policy.Selector == QueueDepth {
		p.counted = true
		path.inflight.Add(1)
	}
	if a.pick().submit(p) {
		return true
	}
	p.leave()
	runtime.Gosched() // the queue has ended, and its association is about to
	return false
}

// wake has everything that waits look for a path again.
func (d *device) wake() {
	d.mu.Lock()
	d.epoch.Add(1)
	waiting := d.waiting
	d.waiting = nil
	d.mu.Unlock()
	for _, p := range waiting {
		d.dispatch(p)
	}
}
