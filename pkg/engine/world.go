// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"maps"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// world is what the data plane holds, as far as is known: the last observation, and over it what our
// own steps have changed since. Not safe for concurrent use; Engine.mu guards it.
type world struct {
	objects map[driver.Key]driver.Object
	// brought lists the bdevs of each remote controller by nsid; made anew with each observation.
	brought map[string][]*driver.Bdev
	// seq counts our own changes. touched tells, for each key changed since the last observation
	// began, at which count that was; busy counts the steps under way on a key. An observation that
	// began before a change ended says nothing about that key.
	seq     uint64
	touched map[driver.Key]uint64
	busy    map[driver.Key]int
	// known says whether there has been an observation in this epoch of the data plane.
	known bool
	epoch uint64
}

func newWorld() *world {
	return &world{
		objects: map[driver.Key]driver.Object{},
		brought: map[string][]*driver.Bdev{},
		touched: map[driver.Key]uint64{},
		busy:    map[driver.Key]int{},
	}
}

// begin notes that a step on key is under way.
func (w *world) begin(key driver.Key) {
	w.seq++
	w.touched[key] = w.seq
	w.busy[key]++
}

// end notes that the step is over, and what is there now: object, nil for nothing, or what was there
// before when the step failed (changed is false).
func (w *world) end(key driver.Key, object driver.Object, changed bool) {
	w.seq++
	w.touched[key] = w.seq
	if w.busy[key]--; w.busy[key] <= 0 {
		delete(w.busy, key)
	}
	switch {
	case !changed:
	case object == nil:
		delete(w.objects, key)
	default:
		w.objects[key] = object
	}
}

// merge takes over an observation that began when seq stood at since.
func (w *world) merge(o *driver.Observation, since uint64) {
	objects := o.Objects
	if len(w.touched) > 0 {
		objects = make(map[driver.Key]driver.Object, len(o.Objects))
		maps.Copy(objects, o.Objects)
	}
	for key, at := range w.touched {
		if at <= since && w.busy[key] == 0 {
			delete(w.touched, key)
			continue
		}
		if ours, ok := w.objects[key]; ok {
			objects[key] = ours
		} else {
			delete(objects, key)
		}
	}
	w.objects = objects
	w.known, w.epoch = true, o.Epoch
	w.brought = map[string][]*driver.Bdev{}
	for _, object := range objects {
		if b, ok := object.(*driver.Bdev); ok && b.Nvme != nil {
			w.brought[b.Nvme.Controller] = append(w.brought[b.Nvme.Controller], b)
		}
	}
	for _, bdevs := range w.brought {
		slices.SortFunc(bdevs, func(a, b *driver.Bdev) int { return cmp.Compare(a.Nvme.NSID, b.Nvme.NSID) })
	}
}
