// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
)

// seen makes an observation of these objects.
func seen(objects ...driver.Object) *driver.Observation {
	o := &driver.Observation{Epoch: 1, Objects: map[driver.Key]driver.Object{}}
	for _, object := range objects {
		o.Objects[object.Key()] = object
	}
	return o
}

func TestAnObservationDoesNotUndoWhatWasDoneMeanwhile(t *testing.T) {
	w := newWorld()
	w.merge(seen(vol), w.seq)

	since := w.seq // an observation begins …
	w.begin(sub.Key())
	w.end(sub.Key(), sub, true)
	w.begin(vol.Key())
	w.end(vol.Key(), nil, true)
	w.begin(ns.Key())             // … and this step is still under way when …
	w.merge(seen(vol, ns), since) // … it ends, having seen the world as it was before

	if w.objects[sub.Key()] == nil || w.objects[vol.Key()] != nil || w.objects[ns.Key()] != nil {
		t.Errorf("an old view has replaced newer knowledge: %v", w.objects)
	}
	w.end(ns.Key(), ns, true)
	w.merge(seen(vol, sub), w.seq)
	if w.objects[vol.Key()] == nil || w.objects[ns.Key()] != nil || len(w.touched) != 0 {
		t.Errorf("a fresh view was not taken over: %v, touched %v", w.objects, w.touched)
	}
}

func TestAFailedStepChangesNothing(t *testing.T) {
	w := newWorld()
	w.merge(seen(vol), w.seq)
	w.begin(vol.Key())
	w.end(vol.Key(), nil, false)
	w.begin(sub.Key())
	w.end(sub.Key(), sub, false)
	if w.objects[vol.Key()] == nil || w.objects[sub.Key()] != nil {
		t.Errorf("got %v", w.objects)
	}
}

func TestBroughtBdevsAreInTheOrderOfTheirNSIDs(t *testing.T) {
	w := newWorld()
	brought := func(name string, nsid uint32) *driver.Bdev {
		return &driver.Bdev{Name: name, Kind: driver.BdevNvme, Nvme: &driver.NvmeOrigin{Controller: "c", NSID: nsid}}
	}
	w.merge(seen(brought("cn10", 10), brought("cn2", 2), vol), 0)
	got := view{newIndex(nil), w}.Brought("c")
	if len(got) != 2 || got[0].Name != "cn2" || got[1].Name != "cn10" {
		t.Errorf("got %v", got)
	}
}
