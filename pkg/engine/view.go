// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// view is [resource.View] over index and world.
type view struct {
	index *index
	world *world
}

// Record implements [resource.View].
func (v view) Record(name resource.Name) *resource.Record {
	if en := v.index.entries[name]; en != nil {
		return en.rec
	}
	return nil
}

// Records implements [resource.View].
func (v view) Records(collection string) []*resource.Record {
	names := v.index.collections[collection]
	all := make([]*resource.Record, 0, names.len())
	for name := range names.all() {
		all = append(all, v.index.entries[name].rec)
	}
	return all
}

// Bdev implements [resource.View]. A reference with a slash is a resource name; one without is the
// name of a bdev that the data plane has by itself.
func (v view) Bdev(ref string) (string, error) {
	if !strings.Contains(ref, "/") {
		return ref, nil
	}
	name := resource.Name(ref)
	kind := v.index.registry.ByName(name)
	if kind == nil || !kind.IsVolume() {
		return "", errdefs.New(errdefs.InvalidArgument, "%q is not the name of a volume, such as %s", ref, v.volumePatterns())
	}
	if kind.Derived() {
		if parent := v.Record(name.Parent()); parent == nil || parent.State == resource.StateDeleting {
			return "", errdefs.New(errdefs.NotFound, "%s does not exist, and so %s cannot", name.Parent(), ref)
		}
		return kind.Bdev(name, nil), nil
	}
	r := v.Record(name)
	if r == nil || r.State == resource.StateDeleting {
		return "", errdefs.New(errdefs.NotFound, "%s does not exist", ref)
	}
	// A volume that adds something to another leads on to that. Each step is to a volume that existed
	// before, so there is no way back to the first.
	return v.Bdev(kind.Bdev(name, r.Message))
}

func (v view) volumePatterns() string {
	var patterns []string
	for _, k := range v.index.registry.Kinds() {
		if k.IsVolume() {
			patterns = append(patterns, k.Pattern())
		}
	}
	return strings.Join(patterns, ", ")
}

// Observed implements [resource.View].
func (v view) Observed(key driver.Key) driver.Object { return v.world.objects[key] }

// Firmware implements [resource.View].
func (v view) Firmware() string { return v.world.firmware }

// Brought implements [resource.View].
func (v view) Brought(controller string) []*driver.Bdev { return v.world.brought[controller] }
