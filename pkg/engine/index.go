// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// entry is one resource in memory.
type entry struct {
	rec *resource.Record
	// before is what a deletion replaces, until its intent is in the store; else nil.
	before *resource.Record
	// objects should exist for rec.Message; obsolete ones, of rec.Prior, should not any more.
	objects, obsolete []driver.Object
	holds             []resource.Hold

	// The condition, which is not stored: why the data plane is not as wanted (nil when it is), since
	// when, how often in a row it was tried, and when to try again.
	problem  error
	since    time.Time
	attempts int
	retryAt  time.Time
	// drifted says that the problem, or what is being changed, is somebody else's doing.
	drifted bool
	// reshaped says that objects are wanted differently because of another resource.
	reshaped bool
	// dirty says that a pass should look at the resource.
	dirty bool
	// limbo says that a write to the store may or may not have happened: memory must be made equal to
	// the store before anything else is done to the resource.
	limbo bool
}

// index holds all resources with everything that must be found quickly. Not safe for concurrent use;
// Engine.mu guards it.
type index struct {
	registry *resource.Registry
	// objects works out what should exist for a record.
	objects func(*resource.Record) ([]driver.Object, error)
	// reshaped is called when objects are wanted differently because of another resource.
	reshaped func()
	entries  map[resource.Name]*entry
	// collections holds the names of each collection in order.
	collections map[string]*names
	// holders tells who has what only one may have.
	holders map[string]resource.Name
	// owners tells for whom an object exists.
	owners map[driver.Key]resource.Name
	// needers tells whose objects need an object.
	needers map[driver.Key]map[resource.Name]struct{}
	// fed lists, of what is needed, the bdevs that come with a remote controller of that name.
	fed map[string]map[driver.Key]struct{}
	// referrers tells who refers to a resource by its name.
	referrers map[resource.Name]map[resource.Name]struct{}
	// unreadable lists records that this version cannot read. They are left alone, and their names
	// stay taken.
	unreadable map[resource.Name]error
	// states counts the entries by state.
	states map[resource.State]int
	// dirty holds the names of all dirty entries, limbo of those in limbo.
	dirty, limbo map[resource.Name]struct{}
}

func newIndex(registry *resource.Registry) *index {
	return &index{
		registry:    registry,
		entries:     map[resource.Name]*entry{},
		collections: map[string]*names{},
		holders:     map[string]resource.Name{},
		owners:      map[driver.Key]resource.Name{},
		needers:     map[driver.Key]map[resource.Name]struct{}{},
		fed:         map[string]map[driver.Key]struct{}{},
		referrers:   map[resource.Name]map[resource.Name]struct{}{},
		unreadable:  map[resource.Name]error{},
		states:      map[resource.State]int{},
		dirty:       map[resource.Name]struct{}{},
		limbo:       map[resource.Name]struct{}{},
	}
}

// put adds or replaces an entry.
func (x *index) put(en *entry) {
	name := en.rec.Name
	if old := x.entries[name]; old != nil {
		x.unlink(old)
	} else {
		c := name.Collection()
		if x.collections[c] == nil {
			x.collections[c] = &names{}
		}
		x.collections[c].add(name)
	}
	x.entries[name] = en
	x.states[en.rec.State]++
	for _, h := range en.holds {
		x.holders[h.Token] = name
	}
	for _, objects := range [][]driver.Object{en.objects, en.obsolete} {
		for _, o := range objects {
			x.owners[o.Key()] = name
			for _, need := range o.Needs() {
				join(x.needers, need, name)
				if o, ok := driver.OriginOf(need.ID); ok && need.Type == driver.TypeBdev {
					join(x.fed, o.Controller, need)
				}
			}
		}
	}
	for _, to := range en.refers() {
		join(x.referrers, to, name)
	}
	x.mark(en)
	x.shape(en.rec)
}

// shape works out anew what should exist for the parent of a resource that has come, changed or gone,
// where that depends on it.
func (x *index) shape(child *resource.Record) {
	parent := x.entries[child.Name.Parent()]
	if !child.Kind.Shapes() || parent == nil || len(parent.objects) == 0 {
		return // what the parent is is not known yet: the store is being read, or only checked
	}
	objects, err := x.objects(parent.rec)
	if err != nil || len(objects) != len(parent.objects) {
		return
	}
	for i, o := range objects {
		if len(o.Differences(parent.objects[i])) > 0 {
			parent.reshaped, parent.dirty = true, true
			x.mark(parent)
			x.reshaped()
		}
	}
	parent.objects = objects
}

// mark brings the sets of dirty and limbo names up to date with the entry.
func (x *index) mark(en *entry) {
	set(x.dirty, en.rec.Name, en.dirty)
	set(x.limbo, en.rec.Name, en.limbo)
}

func set(names map[resource.Name]struct{}, name resource.Name, in bool) {
	if in {
		names[name] = struct{}{}
	} else {
		delete(names, name)
	}
}

// remove takes an entry out.
func (x *index) remove(name resource.Name) {
	en := x.entries[name]
	if en == nil {
		return
	}
	x.unlink(en)
	delete(x.entries, name)
	delete(x.dirty, name)
	delete(x.limbo, name)
	c := name.Collection()
	if x.collections[c].remove(name); x.collections[c].len() == 0 {
		delete(x.collections, c)
	}
	x.shape(en.rec)
}

// unlink takes away what put noted about an entry besides its place in the collection.
func (x *index) unlink(en *entry) {
	name := en.rec.Name
	if x.states[en.rec.State]--; x.states[en.rec.State] == 0 {
		delete(x.states, en.rec.State)
	}
	for _, h := range en.holds {
		if x.holders[h.Token] == name {
			delete(x.holders, h.Token)
		}
	}
	for _, objects := range [][]driver.Object{en.objects, en.obsolete} {
		for _, o := range objects {
			if x.owners[o.Key()] == name {
				delete(x.owners, o.Key())
			}
			for _, need := range o.Needs() {
				leave(x.needers, need, name)
				if o, ok := driver.OriginOf(need.ID); ok && need.Type == driver.TypeBdev && x.needers[need] == nil {
					leave(x.fed, o.Controller, need)
				}
			}
		}
	}
	for _, to := range en.refers() {
		leave(x.referrers, to, name)
	}
}

// refers lists the resources that the entry refers to by name, before and after a change.
func (en *entry) refers() []resource.Name {
	var names []resource.Name
	for _, m := range []proto.Message{en.rec.Message, en.rec.Prior} {
		if m == nil {
			continue
		}
		for _, ref := range en.rec.Kind.Refs(m) {
			names = append(names, resource.Name(ref.To))
		}
	}
	return names
}

// join adds a member to the set under key, leave takes it out.
func join[K, M comparable](sets map[K]map[M]struct{}, key K, member M) {
	if sets[key] == nil {
		sets[key] = map[M]struct{}{}
	}
	sets[key][member] = struct{}{}
}

func leave[K, M comparable](sets map[K]map[M]struct{}, key K, member M) {
	delete(sets[key], member)
	if len(sets[key]) == 0 {
		delete(sets, key)
	}
}

// users lists, in order, who stands in the way of deleting the entry: what lies below it, and whose
// objects need what it provides.
func (x *index) users(en *entry, v resource.View) []resource.Name {
	found := map[resource.Name]struct{}{}
	name, kind := en.rec.Name, en.rec.Kind
	for _, k := range x.registry.Kinds() {
		if k.ParentPattern() == kind.Pattern() {
			for child := range x.collections[k.CollectionOf(name)].all() {
				found[child] = struct{}{}
			}
		}
	}
	for _, o := range en.objects {
		for user := range x.needers[o.Key()] {
			found[user] = struct{}{}
		}
	}
	for user := range x.referrers[name] {
		found[user] = struct{}{}
	}
	if controller := kind.Takes(name, en.rec.Message, v); controller != "" {
		for key := range x.fed[controller] {
			for user := range x.needers[key] {
				found[user] = struct{}{}
			}
		}
	}
	delete(found, name)
	return slices.Sorted(maps.Keys(found))
}
