// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Get returns a resource. The message is the caller's.
func (e *Engine) Get(ctx context.Context, kind *resource.Kind, name string) (proto.Message, error) {
	n, err := kind.Parse("name", name)
	if err != nil {
		return nil, err
	}
	e.mu.RLock()
	m, _, err := e.find(kind, n)
	e.mu.RUnlock()
	if err := e.confirmed(ctx, err); err != nil {
		return nil, err
	}
	return m, nil
}

// find returns the resource as an answer, and its entry when it is not derived. Hold mu for reading.
func (e *Engine) find(kind *resource.Kind, n resource.Name) (proto.Message, *entry, error) {
	if !e.loaded {
		return nil, nil, notLoaded(e.storeErr)
	}
	if kind.Derived() {
		for _, m := range kind.List(n.Parent(), e.view()) {
			if resource.NameOf(m) == n && e.shows(n.Parent()) {
				return m, nil, nil
			}
		}
	} else if m := e.show(n); m != nil {
		return m, e.index.entries[n], nil
	} else if err := e.index.unreadable[n]; err != nil {
		return nil, nil, unreadable(n, err)
	}
	return nil, nil, errdefs.New(errdefs.NotFound, "%s does not exist", n)
}

// List returns up to limit resources of the kind below parent, in the order of their names, beginning
// after the name "after" ("" for the first), and whether there are more. The name after which to go on
// need not exist any more.
func (e *Engine) List(ctx context.Context, kind *resource.Kind, parent, after string, limit int) (items []proto.Message, more bool, err error) {
	above, err := kind.ParseParent("parent", parent)
	if err != nil {
		return nil, false, err
	}
	items, more, err = e.list(kind, above, after, limit)
	if err := e.confirmed(ctx, err); err != nil {
		return nil, false, err
	}
	return items, more, nil
}

// list is List from memory.
func (e *Engine) list(kind *resource.Kind, above resource.Name, after string, limit int) (items []proto.Message, more bool, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if !e.loaded {
		return nil, false, notLoaded(e.storeErr)
	}
	if above != "" && !e.shows(above) {
		return nil, false, errdefs.New(errdefs.NotFound, "parent: %s does not exist", above)
	}
	if kind.Derived() {
		all := kind.List(above, e.view())
		slices.SortFunc(all, func(a, b proto.Message) int { return cmp.Compare(resource.NameOf(a), resource.NameOf(b)) })
		from, _ := slices.BinarySearchFunc(all, resource.Name(after), func(m proto.Message, after resource.Name) int {
			return past(resource.NameOf(m), after)
		})
		to := min(from+limit, len(all))
		return all[from:to], to < len(all), nil
	}
	items, more = e.page(e.index.collections[kind.CollectionOf(above)].behind(resource.Name(after)), limit)
	return items, more, nil
}

// past is a comparison in which a search finds the first name after the given one.
func past(name, after resource.Name) int {
	if name <= after {
		return -1
	}
	return 1
}

// Stats returns the I/O counters of a resource, asked of the data plane now: the sum over what
// belongs to it and is there.
func (e *Engine) Stats(ctx context.Context, kind *resource.Kind, name string) (driver.IOStats, error) {
	statter, ok := e.cfg.Driver.(driver.Statter)
	if !ok {
		return driver.IOStats{}, errdefs.New(errdefs.Unimplemented, "this driver does not count I/O")
	}
	keys, err := e.statKeys(kind, name)
	if err := e.confirmed(ctx, err); err != nil {
		return driver.IOStats{}, err
	}
	if len(keys) == 0 {
		return driver.IOStats{}, nil
	}
	all, err := statter.Stats(ctx, keys)
	if errdefs.ClassOf(err) == errdefs.NotFound {
		// The resource exists; what the data plane has lost is being put back.
		return driver.IOStats{}, errdefs.Wrap(errdefs.Unavailable, err, "%s is not in the data plane at the moment", name)
	}
	if err != nil {
		return driver.IOStats{}, err
	}
	var sum driver.IOStats
	for _, s := range all {
		sum.Add(s)
	}
	return sum, nil
}

func (e *Engine) statKeys(kind *resource.Kind, name string) ([]driver.Key, error) {
	n, err := kind.Parse("name", name)
	if err != nil {
		return nil, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	m, en, err := e.find(kind, n)
	if err != nil {
		return nil, err
	}
	keys, err := kind.Stats(n, m, e.view())
	if err != nil {
		return nil, err
	}
	there := slices.DeleteFunc(keys, func(k driver.Key) bool { return e.world.objects[k] == nil })
	if len(keys) > 0 && len(there) == 0 && en != nil && len(en.objects) > 0 {
		return nil, errdefs.Wrap(errdefs.Unavailable, orUnknown(en.problem), "%s is not in the data plane at the moment", n)
	}
	return there, nil
}

// Reset disconnects and reconnects the remote controller that the resource is.
func (e *Engine) Reset(ctx context.Context, kind *resource.Kind, name string) error {
	resetter, ok := e.cfg.Driver.(driver.Resetter)
	if !ok {
		return errdefs.New(errdefs.Unimplemented, "this driver cannot reset controllers")
	}
	n, err := kind.Parse("name", name)
	if err != nil {
		return err
	}
	if err := e.admitting(ctx); err != nil {
		return err
	}
	unlock, err := e.locks.Lock(ctx, n)
	if err != nil {
		return err
	}
	defer unlock()
	e.mu.RLock()
	m, _, err := e.find(kind, n)
	e.mu.RUnlock()
	if err != nil {
		return err
	}
	controller, err := kind.ResetTarget(n, m)
	if err != nil {
		return err
	}
	return resetter.ResetController(ctx, controller)
}
