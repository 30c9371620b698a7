// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Registry names the bdevs of a process. All methods are safe for concurrent use. Under its lock it
// asks devices for their Geometry, sets their size and changes limits, and calls nothing else.
type Registry struct {
	notes notifications
	// mallocs counts malloc bdevs that were named by the registry.
	mallocs atomic.Uint64

	mu sync.Mutex
	// names leads from every name, alias and uuid to its bdev, those being removed too; guarded by mu.
	names map[string]*entry
	// order holds the entries in order of registration; guarded by mu.
	order *list.List
	// examiners are called with the name of each bdev that has been registered; guarded by mu.
	examiners []func(name string)
}

// entry is a registered bdev.
type entry struct {
	spec    Spec
	names   []string // name, then aliases; immutable
	element *list.Element
	stats   stats
	limiter atomic.Pointer[limiter] // nil when the bdev has no limits
	gone    chan struct{}           // closed when the device has been closed
	// closeErr is what closing the device returned; read it after gone is closed.
	closeErr error

	// Guarded by Registry.mu:
	descs    map[*Desc]struct{}
	claim    *Desc
	removing bool
}

// NewRegistry returns a registry without bdevs.
func NewRegistry() *Registry {
	return &Registry{names: make(map[string]*entry), order: list.New()}
}

// Register makes a device known by its name, aliases and uuid. From then on the registry owns the
// device; if Register fails the caller still does. A name that is taken is AlreadyExists (EEXIST),
// also while the bdev that has it is being removed; an empty one InvalidArgument (EINVAL).
func (r *Registry) Register(spec Spec) (*Info, error) {
	if spec.Name == "" {
		return nil, errInvalid("a bdev needs a name")
	}
	if spec.Device == nil {
		return nil, errInvalid("bdev %q has no device", spec.Name)
	}
	if spec.UUID == uuid.Nil {
		spec.UUID = uuid.New()
	}
	e := &entry{spec: spec, gone: make(chan struct{}), descs: make(map[*Desc]struct{})}
	e.names = []string{spec.Name}
	for _, alias := range append([]string{spec.UUID.String()}, spec.Aliases...) {
		if !slices.Contains(e.names, alias) {
			e.names = append(e.names, alias)
		}
	}

	r.mu.Lock()
	for _, name := range e.names {
		if _, taken := r.names[name]; taken {
			r.mu.Unlock()
			return nil, errExists(spec.Name, name)
		}
	}
	for _, name := range e.names {
		r.names[name] = e
	}
	e.element = r.order.PushBack(e)
	info := e.info()
	r.notes.send(NotifyRegister, spec.Name)
	examiners := r.examiners
	r.mu.Unlock()
	for _, examine := range examiners {
		examine(spec.Name)
	}
	return e.told(info), nil
}

// Examine has f called with the name of each bdev that is registered from now on, on the goroutine
// that registers it, before Register returns, and without locks of the registry.
func (r *Registry) Examine(f func(name string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.examiners = append(slices.Clone(r.examiners), f)
}

// adopt registers a device made a moment ago, and closes it if that fails.
func (r *Registry) adopt(spec Spec) (*Info, error) {
	info, err := r.Register(spec)
	if err != nil {
		return nil, errors.Join(err, spec.Device.Close())
	}
	return info, nil
}

// Unregister removes the bdev of that name, alias or uuid: it tells all openers, waits until they
// have let go, closes the device and returns its error. It is never refused because the bdev is in
// use. Until they have let go, the name stays taken but is not found any more. A bdev of another module is
// NotFound (ENODEV), as is one that is already being removed; an empty module fits all.
//
// When ctx ends first, Unregister returns its error and the removal goes on: the opener that is last
// to let go ends it.
func (r *Registry) Unregister(ctx context.Context, name, module string) error {
	e := r.begin(name, func(e *entry) bool { return module == "" || e.spec.Module == module })
	if e == nil {
		return errNotFound(name)
	}
	select {
	case <-e.gone:
		if e.closeErr != nil {
			return fmt.Errorf("close bdev %q: %w", e.spec.Name, e.closeErr)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the users of bdev %q to let go: %w", e.spec.Name, context.Cause(ctx))
	}
}

// begin marks a bdev as being removed, lifts its limits, so that nobody waits for them any more, and
// tells its openers. It returns nil if there is no such bdev, or none that fits.
func (r *Registry) begin(name string, fits func(*entry) bool) *entry {
	r.mu.Lock()
	e := r.lookup(name)
	if e == nil || !fits(e) {
		r.mu.Unlock()
		return nil
	}
	e.removing = true
	descs := make([]*Desc, 0, len(e.descs))
	for d := range e.descs {
		descs = append(descs, d)
	}
	r.mu.Unlock()

	e.lift()
	if len(descs) == 0 {
		r.destroy(e)
	}
	for _, d := range descs {
		if d.events.Removed != nil {
			d.events.Removed()
		}
	}
	return e
}

// destroy ends the removal of a bdev without descriptors.
func (r *Registry) destroy(e *entry) {
	// The name goes first, as in SPDK: closing a device that stacks on another may end the removal of
	// that one, and whoever waited for it may make both anew at once.
	r.mu.Lock()
	for _, name := range e.names {
		delete(r.names, name)
	}
	r.order.Remove(e.element)
	r.notes.send(NotifyUnregister, e.spec.Name)
	r.mu.Unlock()
	e.closeErr = e.spec.Device.Close()
	close(e.gone)
}

// Resize changes the size of the bdev and tells its openers. A device that cannot change is
// InvalidArgument (EINVAL), to shrink one that is open FailedPrecondition (EBUSY). Nothing happens
// when the size is what it was.
func (r *Registry) Resize(name string, blocks uint64) error {
	r.mu.Lock()
	e := r.lookup(name)
	if e == nil {
		r.mu.Unlock()
		return errNotFound(name)
	}
	dev, ok := e.spec.Device.(Resizer)
	now := e.spec.Device.Geometry().Blocks
	var err error
	switch {
	case !ok:
		err = errInvalid("bdev %q is of kind %s, which cannot be resized", name, e.spec.Module)
	case blocks < now && len(e.descs) > 0:
		err = errdefs.Wrap(errdefs.FailedPrecondition, syscall.EBUSY,
			"bdev %q is open and cannot shrink from %d to %d blocks", name, now, blocks)
	}
	if err != nil || blocks == now {
		r.mu.Unlock()
		return err
	}
	dev.SetBlocks(blocks)
	descs := make([]*Desc, 0, len(e.descs))
	for d := range e.descs {
		descs = append(descs, d)
	}
	r.notes.send(NotifyResize, e.spec.Name)
	r.mu.Unlock()
	for _, d := range descs {
		if d.events.Resized != nil {
			d.events.Resized()
		}
	}
	return nil
}

// Lookup returns the bdev with that name, alias or uuid (in lower case), or NotFound (ENODEV).
func (r *Registry) Lookup(name string) (*Info, error) {
	r.mu.Lock()
	e := r.lookup(name)
	if e == nil {
		r.mu.Unlock()
		return nil, errNotFound(name)
	}
	info := e.info()
	r.mu.Unlock()
	return e.told(info), nil
}

// List returns all bdevs that are not being removed, in order of registration.
func (r *Registry) List() []*Info {
	r.mu.Lock()
	entries := make([]*entry, 0, r.order.Len())
	infos := make([]*Info, 0, r.order.Len())
	for el := r.order.Front(); el != nil; el = el.Next() {
		if e := el.Value.(*entry); !e.removing { //nolint:errcheck // the list holds nothing else, so it cannot fail
			entries = append(entries, e)
			infos = append(infos, e.info())
		}
	}
	r.mu.Unlock()
	for i, e := range entries {
		e.told(infos[i])
	}
	return infos
}

// Close removes all bdevs, the youngest first, and waits for it as Unregister does.
func (r *Registry) Close(ctx context.Context) error {
	var errs []error
	infos := r.List()
	for _, info := range slices.Backward(infos) {
		if err := r.Unregister(ctx, info.Name, ""); err != nil && !errors.Is(err, errdefs.NotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lookup finds a bdev that is not being removed; the caller holds mu.
func (r *Registry) lookup(name string) *entry {
	if e := r.names[name]; e != nil && !e.removing {
		return e
	}
	return nil
}

// info takes a snapshot, without what the module tells; the caller holds Registry.mu.
func (e *entry) info() *Info {
	i := &Info{
		Name: e.spec.Name, Module: e.spec.Module, Product: e.spec.Product, UUID: e.spec.UUID,
		Metadata: e.spec.Metadata, Hints: e.spec.Hints, IOTypes: e.spec.IOTypes, WriteCache: e.spec.WriteCache,
		NUMA: e.spec.NUMA, MemoryDomains: slices.Clone(e.spec.MemoryDomains), Aliases: slices.Clone(e.names[1:]),
		Geometry: e.spec.Device.Geometry(), Openers: len(e.descs),
	}
	if l := e.limiter.Load(); l != nil {
		i.Limits = l.shown()
	}
	if e.claim != nil {
		i.ClaimedBy = e.claim.claimedBy
	}
	return i
}

// told adds what the module tells; the caller holds no lock.
func (e *entry) told(i *Info) *Info {
	if e.spec.DriverSpecific != nil {
		i.DriverSpecific = e.spec.DriverSpecific()
	}
	return i
}
