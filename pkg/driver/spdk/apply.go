// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

const (
	// localWorkers is how many steps wait for SPDK's answers at a time: SPDK reads its socket every
	// 4 ms and takes whatever is there, and above some hundred nothing is gained.
	localWorkers = 256
	// remoteWorkers is how many steps wait for remote targets, which takes seconds if those are away.
	remoteWorkers = 512
)

// Apply implements [driver.Driver]. The answer to a step is waited for before a step that names it is
// sent: SPDK's asynchronous calls overtake each other. Steps on remote targets have workers of their
// own, so that targets which are away hold up nothing but what waits for them.
func (d *Driver) Apply(ctx context.Context, steps []driver.Step) []error {
	b := &apply{
		driver: d, steps: steps, errs: make([]error, len(steps)), waits: make([]int, len(steps)),
		next: make([][]int, len(steps)), left: len(steps),
		local: make(chan int, len(steps)), remote: make(chan int, len(steps)),
	}
	if len(steps) == 0 {
		return b.errs
	}
	locals, remotes := b.plan()
	var workers sync.WaitGroup
	for range min(locals, localWorkers) {
		workers.Go(func() { b.work(ctx, b.local) })
	}
	for range min(remotes, remoteWorkers) {
		workers.Go(func() { b.work(ctx, b.remote) })
	}
	workers.Wait()
	return b.errs
}

// apply is one batch of steps on its way.
type apply struct {
	driver *Driver
	steps  []driver.Step
	next   [][]int // who waits for a step

	local, remote chan int // steps that may run; closed when all are done

	mu    sync.Mutex
	errs  []error // guarded by mu until all are done
	waits []int   // how many steps a step still waits for; guarded by mu
	left  int     // steps that are not done; guarded by mu
}

// plan sorts out who waits for whom, and starts with those who wait for nobody.
func (b *apply) plan() (locals, remotes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var broken []int
	for i := range b.steps {
		step := &b.steps[i]
		if _, slow := step.Object.(driver.Remote); slow {
			remotes++
		} else {
			locals++
		}
		for _, before := range step.After {
			if before < 0 || before >= i {
				broken = append(broken, i)
				continue
			}
			b.next[before] = append(b.next[before], i)
			b.waits[i]++
		}
	}
	for _, i := range broken {
		b.errs[i] = errdefs.New(errdefs.Internal, "step %d names in After what is no earlier step: %v", i, b.steps[i].After)
	}
	for i := range b.steps {
		if b.waits[i] == 0 {
			b.ready(i)
		}
	}
	return locals, remotes
}

// ready lets a step run. It is called with mu held.
func (b *apply) ready(i int) {
	if _, slow := b.steps[i].Object.(driver.Remote); slow {
		b.remote <- i
	} else {
		b.local <- i
	}
}

// work runs steps until all are done.
func (b *apply) work(ctx context.Context, steps <-chan int) {
	for i := range steps {
		b.mu.Lock()
		err := b.errs[i]
		b.mu.Unlock()
		if err == nil {
			err = b.driver.apply(ctx, &b.steps[i])
		}
		b.mu.Lock()
		b.done(i, err)
		b.mu.Unlock()
	}
}

// done notes how a step has ended and lets those go on who waited for it. It is called with mu held.
func (b *apply) done(i int, err error) {
	b.errs[i] = err
	if b.left--; b.left == 0 {
		close(b.local)
		close(b.remote)
		return
	}
	for _, j := range b.next[i] {
		if err != nil && b.errs[j] == nil {
			b.errs[j] = driver.ErrSkipped
		}
		if b.waits[j]--; b.waits[j] == 0 {
			b.ready(j)
		}
	}
}

// apply carries out one step.
func (d *Driver) apply(ctx context.Context, step *driver.Step) error {
	switch step.Op {
	case driver.Create:
		return d.create(ctx, step)
	case driver.Update:
		return d.update(ctx, step)
	case driver.Delete:
		return d.remove(ctx, step.Object)
	}
	return errdefs.New(errdefs.Internal, "%s: no such operation", step.Op)
}

func (d *Driver) create(ctx context.Context, step *driver.Step) error {
	switch o := step.Object.(type) {
	case *driver.Bdev:
		return d.createBdev(ctx, step, o)
	case *driver.Path:
		return d.createPath(ctx, step, o)
	case *driver.Subsystem:
		return d.createSubsystem(ctx, step, o)
	case *driver.Host:
		return d.createHost(ctx, step, o)
	case *driver.Listener:
		return d.createListener(ctx, step, o)
	case *driver.Namespace:
		return d.alone(ctx, o.Bdev, func() error { return d.createNamespace(ctx, step, o) })
	case *driver.CryptoKey:
		return d.createCryptoKey(ctx, step, o)
	case *driver.Limits:
		return d.createLimits(ctx, step, o)
	case *driver.TLSKey:
		return d.createTLSKey(ctx, step, o)
	case *driver.VirtioBlk:
		return d.alone(ctx, o.Bdev, func() error { return d.createVirtioBlk(ctx, step, o) })
	case *driver.VirtioScsi:
		return d.createVirtioScsi(ctx, step, o)
	case *driver.VirtioScsiSocket:
		return d.createVirtioScsiSocket(ctx, step, o)
	case *driver.VirtioScsiTarget:
		return d.alone(ctx, o.Bdev, func() error { return d.createVirtioScsiTarget(ctx, step, o) })
	}
	return unknown(step.Object)
}

func (d *Driver) update(ctx context.Context, step *driver.Step) error {
	switch o := step.Object.(type) {
	case *driver.Bdev:
		return d.updateBdev(ctx, step, o)
	case *driver.Subsystem:
		return d.updateSubsystem(ctx, step, o)
	case *driver.Limits:
		return d.updateLimits(ctx, o)
	case *driver.Path, *driver.Host, *driver.Listener, *driver.Namespace,
		*driver.VirtioBlk, *driver.VirtioScsi, *driver.VirtioScsiSocket, *driver.VirtioScsiTarget, *driver.CryptoKey, *driver.TLSKey:
		return notInPlace(step, "delete it and make it again")
	}
	return unknown(step.Object)
}

func (d *Driver) remove(ctx context.Context, object driver.Object) error {
	switch o := object.(type) {
	case *driver.Bdev:
		return d.deleteBdev(ctx, o)
	case *driver.Path:
		return d.deletePath(ctx, o)
	case *driver.Subsystem:
		return d.deleteSubsystem(ctx, o)
	case *driver.Host:
		return d.deleteHost(ctx, o)
	case *driver.Listener:
		return d.deleteListener(ctx, o)
	case *driver.Namespace:
		return d.deleteNamespace(ctx, o)
	case *driver.CryptoKey:
		return d.deleteCryptoKey(ctx, o)
	case *driver.Limits:
		return d.deleteLimits(ctx, o)
	case *driver.TLSKey:
		return d.deleteTLSKey(ctx, o)
	case *driver.VirtioBlk:
		return d.deleteVhost(ctx, o, o.Name)
	case *driver.VirtioScsi:
		return d.deleteVhost(ctx, o, o.Name)
	case *driver.VirtioScsiSocket:
		return d.deleteVirtioScsiSocket(o)
	case *driver.VirtioScsiTarget:
		return d.deleteVirtioScsiTarget(ctx, o)
	}
	return unknown(object)
}

func unknown(object driver.Object) error {
	return errdefs.New(errdefs.Unimplemented, "%s: SPDK has no such object", object.Key())
}
