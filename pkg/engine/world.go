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
	// seq counts our own changes and the beginnings of observations and looks. touched tells, for each
	// key changed or looked at since the last observation began, at which count that was; busy counts
	// the steps under way on a key. An observation that began before a change ended, or before a look
	// did, says nothing about that key.
	seq     uint64
	touched map[driver.Key]uint64
	busy    map[driver.Key]int
	// merged is at which count the last observation that was taken over began.
	merged uint64
	// known says whether there has been an observation in this epoch of the data plane.
	known bool
	epoch uint64
	// firmware is the revision that hosts see of NVMe subsystems, as the last observation tells.
	firmware string
}

func newWorld() *world {
	return &world{
		objects: map[driver.Key]driver.Object{},
		brought: map[string][]*driver.Bdev{},
		touched: map[driver.Key]uint64{},
		busy:    map[driver.Key]int{},
	}
}

// start notes that an observation or a look begins, and returns what merge or absorb wants to know.
func (w *world) start() (since uint64) {
	w.seq++
	return w.seq
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

// absorb takes over a look at these keys that start had returned since for: what it shows, and that
// the other keys are not there. It returns false when there is no picture of this epoch to add that to.
func (w *world) absorb(o *driver.Observation, keys []driver.Key, since uint64) bool {
	if !w.known || o.Epoch > w.epoch {
		return false
	}
	if o.Epoch < w.epoch || w.merged > since {
		return true // an observation that began later has been taken over
	}
	controllers := map[string]bool{}
	put := func(key driver.Key, now driver.Object) {
		if w.touched[key] > since || w.busy[key] > 0 {
			return
		}
		w.touched[key] = since
		for _, object := range []driver.Object{w.objects[key], now} {
			if b, ok := object.(*driver.Bdev); ok && b.Nvme != nil {
				controllers[b.Nvme.Controller] = true
			}
		}
		if now == nil {
			delete(w.objects, key)
		} else {
			w.objects[key] = now
		}
	}
	for _, key := range keys {
		if o.Objects[key] == nil {
			put(key, nil)
		}
	}
	for key, object := range o.Objects {
		put(key, object)
	}
	for controller := range controllers {
		w.bring(controller, o)
	}
	return true
}

// bring makes the list of a controller's bdevs anew, after a look that has shown more or fewer.
func (w *world) bring(controller string, o *driver.Observation) {
	var bdevs []*driver.Bdev
	listed := map[driver.Key]bool{}
	add := func(key driver.Key) {
		b, ok := w.objects[key].(*driver.Bdev)
		if ok && b.Nvme != nil && b.Nvme.Controller == controller && !listed[key] {
			listed[key] = true
			bdevs = append(bdevs, b)
		}
	}
	for _, b := range w.brought[controller] {
		add(b.Key())
	}
	for key := range o.Objects {
		add(key)
	}
	if len(bdevs) == 0 {
		delete(w.brought, controller)
		return
	}
	slices.SortFunc(bdevs, byNSID)
	w.brought[controller] = bdevs
}

func byNSID(a, b *driver.Bdev) int { return cmp.Compare(a.Nvme.NSID, b.Nvme.NSID) }

// merge takes over an observation that start had returned since for, unless one that began later has
// been taken over already.
func (w *world) merge(o *driver.Observation, since uint64) {
	if o.Epoch < w.epoch || o.Epoch == w.epoch && since < w.merged {
		return
	}
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
	w.merged = since
	w.known, w.epoch, w.firmware = true, o.Epoch, o.Firmware
	w.brought = map[string][]*driver.Bdev{}
	for _, object := range objects {
		if b, ok := object.(*driver.Bdev); ok && b.Nvme != nil {
			w.brought[b.Nvme.Controller] = append(w.brought[b.Nvme.Controller], b)
		}
	}
	for _, bdevs := range w.brought {
		slices.SortFunc(bdevs, byNSID)
	}
}
