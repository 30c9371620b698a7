// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"math/bits"
	"sync"
)

// Events are what an opener hears about its bdev. Both are called without locks held, on the
// goroutine that makes the change, which waits for them: they return soon and may call [Desc.Close].
// They may still come while Close runs on another goroutine.
type Events struct {
	// Removed: the bdev is to go. The opener ends its requests and closes the descriptor, now or soon
	// after; whoever removes the bdev waits for that.
	Removed func()
	// Resized: Geometry returns another size than before.
	Resized func()
}

// Desc is an open bdev: the way by which requests reach the device and are counted. It is a
// [Device], so it can be given to whatever stacks on one.
type Desc struct {
	registry *Registry
	entry    *entry
	device   Device
	write    bool
	events   Events
	shards   *shards

	// claimedBy is guarded by Registry.mu.
	claimedBy string
	closeOnce sync.Once
}

// Open opens the bdev with that name, alias or uuid. For writing it must not be claimed
// (FailedPrecondition, EPERM). An unknown bdev, or one being removed, is NotFound (ENODEV).
func (r *Registry) Open(name string, write bool, events Events) (*Desc, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.lookup(name)
	if e == nil {
		return nil, errNotFound(name)
	}
	if write && e.claim != nil {
		return nil, errClaimed(e.spec.Name, e.claim.claimedBy)
	}
	d := &Desc{registry: r, entry: e, device: e.spec.Device, write: write, events: events, shards: e.stats.open(e.spec.Device.Geometry().BlockSizeBytes)}
	e.descs[d] = struct{}{}
	return d, nil
}

// Name returns the name of the bdev, also if it was opened by an alias.
func (d *Desc) Name() string { return d.entry.spec.Name }

// Spec returns what the module said about the bdev, the uuid drawn if need be.
func (d *Desc) Spec() Spec { return d.entry.spec }

// Claim makes the holder of the descriptor the only one who may write, until it is closed. Those who
// have it open for writing already may go on. A claimed bdev is FailedPrecondition (EPERM). The text
// names the claimer in errors and in Info; it is not empty.
func (d *Desc) Claim(by string) error {
	d.registry.mu.Lock()
	defer d.registry.mu.Unlock()
	switch {
	case by == "":
		return errInvalid("a claim on bdev %q needs the name of the claimer", d.Name())
	case d.entry.claim != nil:
		return errClaimed(d.Name(), d.entry.claim.claimedBy)
	case d.entry.removing:
		return errNotFound(d.Name())
	}
	d.claimedBy = by
	d.entry.claim = d
	d.write = true
	return nil
}

// Geometry returns block size and size now.
func (d *Desc) Geometry() Geometry { return d.device.Geometry() }

// Memory returns the device as memory, if its blocks lie there. What is read straight from it is to
// be counted with a [Counter]. The memory stays valid until the descriptor is closed. As long as the
// bdev has limits, Bytes returns nil: what is to be limited has to be submitted.
func (d *Desc) Memory() (Memory, bool) {
	m, ok := d.device.(Memory)
	if !ok {
		return nil, false
	}
	return &unlimitedMemory{Memory: m, entry: d.entry}, true
}

// NewCounter returns a counter for one user (one queue, say) that moves blocks without Submit.
// Its counts belong to the bdev's statistics; the user closes it before the descriptor.
func (d *Desc) NewCounter() *Counter {
	s := &d.entry.stats
	return &Counter{stats: s, own: s.open(d.Geometry().BlockSizeBytes)}
}

// Submit checks the range, counts the request and hands it to the device.
func (d *Desc) Submit(r *Request) {
	if err := d.check(r); err != nil {
		r.Complete(err)
		return
	}
	if r.shard != nil { // it comes from a device that stacks on this one and passes its requests on
		d.relay(r)
		return
	}
	l := d.entry.limiter.Load()
	if l != nil && !l.limits(r.Op) {
		l = nil
	}
	if l != nil && r.Brief {
		r.Complete(ErrHeld)
		return
	}
	r.shard = d.shards.pick(r)
	r.began = nanotime()
	if l != nil {
		l.submit(r)
		return
	}
	d.device.Submit(r)
}

// check finds what is wrong with a request before the device sees it.
func (d *Desc) check(r *Request) error {
	g := d.device.Geometry()
	switch r.Op {
	case OpFlush:
		return nil
	case OpRead, OpCompare:
	case OpWrite, OpWriteZeroes, OpUnmap:
		if !d.write {
			return ErrReadOnly
		}
	default:
		return ErrOp
	}
	if r.Block > g.Blocks || r.Count > g.Blocks-r.Block {
		return ErrRange
	}
	switch r.Op { //nolint:exhaustive // the other operations have no data
	case OpRead, OpWrite, OpCompare:
		high, size := bits.Mul64(r.Count, uint64(g.BlockSizeBytes))
		if high != 0 || size != uint64(len(r.Data)) {
			return ErrRange
		}
	}
	return nil
}

// relay stands in for a request that another descriptor counts already.
type relay struct {
	stand    Request
	original *Request
	pool     *sync.Pool
}

// relay submits a stand-in for the request.
func (d *Desc) relay(r *Request) {
	pool := &d.entry.stats.relays
	y, ok := pool.Get().(*relay)
	if !ok {
		y = &relay{pool: pool}
	}
	y.original = r
	y.stand = Request{Op: r.Op, Block: r.Block, Count: r.Count, Data: r.Data, Brief: r.Brief, Context: y, Done: relayed}
	d.Submit(&y.stand)
}

// relayed ends the original when its stand-in has ended.
func relayed(stand *Request, err error) {
	y := stand.Context.(*relay) //nolint:errcheck // put there by Desc.relay, so it cannot fail
	original := y.original
	y.original, y.stand = nil, Request{}
	y.pool.Put(y)
	original.Complete(err)
}

// Close lets go of the bdev and of a claim. No request of the descriptor is in flight. If the bdev is
// being removed and this was the last descriptor, Close closes the device. It always returns nil;
// further calls do nothing.
func (d *Desc) Close() error {
	d.closeOnce.Do(func() {
		e := d.entry
		d.registry.mu.Lock()
		delete(e.descs, d)
		if e.claim == d {
			e.claim = nil
		}
		last := e.removing && len(e.descs) == 0
		d.registry.mu.Unlock()
		e.stats.fold(d.shards)
		if last {
			d.registry.destroy(e)
		}
	})
	return nil
}
