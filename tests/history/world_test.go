// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// thing is a resource in the model: what was asked for, and the answer that showed all of it (nil
// before the first one).
type thing struct {
	shape  *shape
	parent string
	asked  flat
	seen   flat
}

// full is all that is known of it.
func (x *thing) full() flat {
	if x.seen == nil {
		return x.asked
	}
	f := maps.Clone(x.seen)
	for path, value := range x.asked {
		if underAny(path, x.shape.hidden) {
			f[path] = value
		}
	}
	return f
}

// world is one state that the bridge may be in, as the API's documentation has it. Worlds do not
// change: requests make new ones.
type world struct{ things map[string]*thing }

func (w *world) with(name string, x *thing) *world {
	next := &world{maps.Clone(w.things)}
	if x == nil {
		delete(next.things, name)
	} else {
		next.things[name] = x
	}
	return next
}

// key tells worlds apart.
func (w *world) key() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(w.things)) {
		fmt.Fprintf(&b, "%s %v %v\n", name, w.things[name].asked, w.things[name].seen)
	}
	return b.String()
}

// base is the volume that a reference leads to in the end.
func (w *world) base(ref string) string {
	for strings.HasPrefix(ref, "qosVolumes/") && w.things[ref] != nil {
		ref = w.things[ref].asked["volume_name_ref"]
	}
	return ref
}

// objections are the codes that a request may be refused with; without any it must be carried out.
type objections map[string]string

func (o objections) add(code, format string, args ...any) { o[code] = fmt.Sprintf(format, args...) }

var goodID = regexp.MustCompile(`^[a-z][a-z0-9-]{2,61}[a-z0-9]$`)

// create says what speaks against creating a resource, and what there is then. A resource that is there
// already just so is what is answered.
func (w *world) create(c call, body flat) (objections, *thing) {
	against := objections{}
	if !goodID.MatchString(c.id) {
		against.add("InvalidArgument", "the id")
	}
	if !c.shape.valid(body) {
		against.add("InvalidArgument", "the fields")
	}
	if old := w.things[c.name()]; old != nil {
		if different := old.full().differs(body, c.shape.open); len(different) > 0 {
			against.add("AlreadyExists", "it differs in %v", different)
			if code := noVolumes[body[c.shape.ref]]; c.shape.ref != "" && code == "InvalidArgument" {
				against.add(code, "%s %q", c.shape.ref, body[c.shape.ref])
			}
			return against, nil
		}
		if len(against) == 0 {
			return nil, old
		}
		return against, nil
	}
	if c.parent != "" && w.things[c.parent] == nil {
		against.add("NotFound", "the parent")
	}
	w.check(c, body, against)
	return against, &thing{shape: c.shape, parent: c.parent, asked: body}
}

// check notes what speaks against a resource with these fields, as far as others are concerned.
func (w *world) check(c call, f flat, against objections) {
	refs := c.shape.refs
	if c.shape.ref != "" {
		if code, odd := noVolumes[f[c.shape.ref]]; odd {
			against.add(code, "%s %q", c.shape.ref, f[c.shape.ref])
		} else {
			refs = append([]string{c.shape.ref}, refs...)
		}
	}
	for _, ref := range refs {
		if w.things[f[ref]] == nil {
			against.add("NotFound", "%s %q", ref, f[ref])
		}
	}
	if c.shape.takes == nil {
		return
	}
	wanted := c.shape.takes(c.parent, f, w.base)
	for name, other := range w.things {
		if name == c.name() || other.shape.takes == nil {
			continue
		}
		for _, word := range other.shape.takes(other.parent, other.full(), w.base) {
			if slices.Contains(wanted, word) {
				against.add("AlreadyExists", "%s has the %s", name, word)
				against.add("FailedPrecondition", "%s has the %s", name, word)
			}
		}
	}
	if target := w.things[f["target_name_ref"]]; target != nil && target.full()["max_luns"] == "1" {
		for name, other := range w.things {
			if name != c.name() && other.asked["target_name_ref"] == f["target_name_ref"] {
				against.add("ResourceExhausted", "%s has the only LUN", name)
			}
		}
	}
}

// update says what speaks against an update, and what there is then.
func (w *world) update(c call, body flat) (objections, *thing) {
	against := objections{}
	if slices.Contains(c.mask, "no_such_field") {
		against.add("InvalidArgument", "the mask")
	}
	old := w.things[c.name()]
	if old == nil {
		if c.missOK {
			more, made := w.create(c, body)
			maps.Copy(against, more)
			return against, made
		}
		against.add("NotFound", "it does not exist")
		return against, nil
	}
	before := old.full()
	after := before.masked(body, c.mask, c.shape.open)
	for _, path := range before.differs(after, nil) {
		if !underAny(path, c.shape.mutable) {
			against.add("InvalidArgument", "%s is fixed", path)
		}
	}
	if !c.shape.valid(after) {
		against.add("InvalidArgument", "the fields")
	}
	if c.shape.grows != nil && !c.shape.grows(before, after) {
		against.add("FailedPrecondition", "it can only grow")
	}
	if maps.Equal(before, after) && len(against) == 0 {
		return nil, old
	}
	w.check(c, after, against)
	next := *old
	next.asked = old.asked.masked(body, c.mask, c.shape.open)
	if old.seen != nil {
		next.seen = old.seen.masked(body.without(c.shape.hidden), c.mask, c.shape.open)
	}
	return against, &next
}

// remove says what speaks against a deletion.
func (w *world) remove(c call) objections {
	against := objections{}
	if w.things[c.name()] == nil {
		if !c.missOK {
			against.add("NotFound", "it does not exist")
		}
		return against
	}
	for name, other := range w.things {
		uses := other.parent == c.name()
		for _, ref := range append([]string{other.shape.ref}, other.shape.refs...) {
			uses = uses || ref != "" && other.asked[ref] == c.name()
		}
		if uses {
			against.add("FailedPrecondition", "%s uses it", name)
		}
	}
	return against
}
