// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// CounterLimits bound what [Engine.Counters] asks the data plane.
type CounterLimits struct {
	// Volumes and Paths are how many of each are shown at most, the first by name.
	Volumes, Paths int
	// PathBdevs is how many bdevs remote controllers may have together for their paths to be counted:
	// data planes are asked bdev by bdev what each path has carried.
	PathBdevs int
}

// Counters are the I/O counters of many resources at one time.
type Counters struct {
	// Volumes are the volumes that are in the data plane, in the order of their names: those with a
	// bdev of their own, and those that came with remote controllers.
	Volumes []VolumeCounters
	// Paths are the connections to storage nodes, in the order of their names.
	Paths []PathCounters
	// LeftOut is how many volumes and paths the limits have left out; PathsCounted says whether the
	// counters of paths are there.
	LeftOut      int
	PathsCounted bool
}

// VolumeCounters are the counters of one volume.
type VolumeCounters struct {
	// Name is the resource's name.
	Name resource.Name
	// Stats are its counters.
	Stats driver.IOStats

	key driver.Key
}

// PathCounters are the state and the counters of one path.
type PathCounters struct {
	// Name is the resource's name.
	Name resource.Name
	// State is the data plane's word for the state of the connection, "absent" when it has none.
	State string
	// Stats are its counters; zero unless Counters.PathsCounted.
	Stats driver.IOStats

	key driver.Key
}

// PathAbsent is the state of a path that the data plane does not have.
const PathAbsent = "absent"

// Counters asks the data plane for the counters of volumes in one call, and of paths within limits.
func (e *Engine) Counters(ctx context.Context, limits CounterLimits) (Counters, error) {
	statter, ok := e.cfg.Driver.(driver.Statter)
	if !ok {
		return Counters{}, errdefs.New(errdefs.Unimplemented, "this driver does not count I/O")
	}
	e.mu.RLock()
	all := Counters{Volumes: e.volumesThere(), Paths: e.paths()}
	all.PathsCounted = e.pathBdevs() <= limits.PathBdevs
	e.mu.RUnlock()

	all.LeftOut = max(0, len(all.Volumes)-limits.Volumes) + max(0, len(all.Paths)-limits.Paths)
	all.Volumes = all.Volumes[:min(len(all.Volumes), limits.Volumes)]
	all.Paths = all.Paths[:min(len(all.Paths), limits.Paths)]
	var keys []driver.Key
	for i := range all.Volumes {
		keys = append(keys, all.Volumes[i].key)
	}
	var counted []int // paths whose counters are asked for
	for i := range all.Paths {
		if all.PathsCounted && all.Paths[i].State != PathAbsent {
			counted = append(counted, i)
			keys = append(keys, all.Paths[i].key)
		}
	}
	if len(keys) == 0 {
		return all, nil
	}
	stats, err := statter.Stats(ctx, keys)
	if err != nil {
		return Counters{}, err
	}
	for i := range all.Volumes {
		all.Volumes[i].Stats = stats[i]
	}
	for n, i := range counted {
		all.Paths[i].Stats = stats[len(all.Volumes)+n]
	}
	return all, nil
}

// volumesThere lists the volumes with a bdev that is there. Hold mu for reading.
func (e *Engine) volumesThere() []VolumeCounters {
	v := e.view()
	var all []VolumeCounters
	add := func(name resource.Name, bdev string) {
		if key := driver.BdevKey(bdev); e.world.objects[key] != nil {
			all = append(all, VolumeCounters{Name: name, key: key})
		}
	}
	for name, en := range e.index.entries {
		for _, o := range en.objects {
			if bdev, ok := o.(*driver.Bdev); ok {
				add(name, bdev.Name)
			}
		}
		for _, kind := range e.registry.Kinds() {
			if kind.Derived() && kind.IsVolume() && kind.ParentPattern() == en.rec.Kind.Pattern() {
				for _, m := range kind.List(name, v) {
					add(resource.NameOf(m), kind.Bdev(resource.NameOf(m), nil))
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b VolumeCounters) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// paths lists the paths with their states. Hold mu for reading.
func (e *Engine) paths() []PathCounters {
	var all []PathCounters
	for name, en := range e.index.entries {
		for _, o := range en.objects {
			wanted, ok := o.(*driver.Path)
			if !ok {
				continue
			}
			path := PathCounters{Name: name, State: PathAbsent, key: wanted.Key()}
			if seen, ok := e.world.objects[path.key].(*driver.Path); ok {
				path.State = seen.State
			}
			all = append(all, path)
		}
	}
	slices.SortFunc(all, func(a, b PathCounters) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// pathBdevs counts the bdevs of all remote controllers. Hold mu for reading.
func (e *Engine) pathBdevs() int {
	n := 0
	for _, bdevs := range e.world.brought {
		n += len(bdevs)
	}
	return n
}
