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
	w.merge(seen(vol), w.start())

	since := w.start() // an observation begins …
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
	w.merge(seen(vol, sub), w.start())
	if w.objects[vol.Key()] == nil || w.objects[ns.Key()] != nil || len(w.touched) != 0 {
		t.Errorf("a fresh view was not taken over: %v, touched %v", w.objects, w.touched)
	}
}

func TestAFailedStepChangesNothing(t *testing.T) {
	w := newWorld()
	w.merge(seen(vol), w.start())
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

func TestALookChangesOnlyWhatWasLookedAt(t *testing.T) {
	w := newWorld()
	if w.absorb(seen(vol), []driver.Key{vol.Key()}, w.start()) {
		t.Error("a look was added to a picture that there is not")
	}
	w.merge(seen(vol, sub), w.start())
	if !w.absorb(seen(ns), []driver.Key{ns.Key(), vol.Key()}, w.start()) {
		t.Error("a look was not taken over")
	}
	if w.objects[vol.Key()] != nil || w.objects[sub.Key()] == nil || w.objects[ns.Key()] == nil {
		t.Errorf("got %v", w.objects)
	}
}

func TestTheLaterOfAnObservationAndALookCounts(t *testing.T) {
	w := newWorld()
	w.merge(seen(), w.start())

	observed, looked := w.start(), w.start() // both on their way, the look began later …
	w.absorb(seen(vol), []driver.Key{vol.Key()}, looked)
	w.merge(seen(), observed) // … and what began earlier ends last
	if w.objects[vol.Key()] == nil {
		t.Error("an older observation has replaced a look")
	}

	looked, observed = w.start(), w.start()
	w.merge(seen(vol), observed)
	w.absorb(seen(), []driver.Key{vol.Key()}, looked)
	if w.objects[vol.Key()] == nil {
		t.Error("an older look has replaced an observation")
	}

	first, second := w.start(), w.start()
	w.merge(seen(vol, sub), second)
	w.merge(seen(), first)
	if w.objects[sub.Key()] == nil {
		t.Error("an older observation has replaced a newer one")
	}

	looked = w.start() // a step ends while the look is under way
	w.begin(ns.Key())
	w.absorb(seen(), []driver.Key{ns.Key()}, looked)
	w.end(ns.Key(), ns, true)
	w.absorb(seen(), []driver.Key{ns.Key()}, looked)
	if w.objects[ns.Key()] == nil {
		t.Error("an old look has undone a change")
	}
}

func TestALookBringsAndTakesAwayTheBdevsOfAController(t *testing.T) {
	w := newWorld()
	bdev := func(name string, nsid uint32) *driver.Bdev {
		return &driver.Bdev{Name: name, Kind: driver.BdevNvme, Nvme: &driver.NvmeOrigin{Controller: "c", NSID: nsid}}
	}
	one, two, three := bdev("cn1", 1), bdev("cn2", 2), bdev("cn3", 3)
	w.merge(seen(two), w.start())
	w.absorb(seen(three, one, two), []driver.Key{two.Key()}, w.start())
	if got := w.brought["c"]; len(got) != 3 || got[0] != one || got[2] != three {
		t.Errorf("got %v", got)
	}
	w.absorb(seen(three), []driver.Key{one.Key(), two.Key(), three.Key()}, w.start())
	if got := w.brought["c"]; len(got) != 1 || got[0] != three {
		t.Errorf("got %v", got)
	}
	w.absorb(seen(), []driver.Key{three.Key()}, w.start())
	if got, there := w.brought["c"]; there {
		t.Errorf("got %v", got)
	}
}
