// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// reply is what came of a call.
type reply struct {
	call    call
	body    flat // what a create or update has asked for
	outcome outcome
	code    string
	text    string
	items   map[string]flat // what was shown, by name
}

func (r reply) String() string {
	s := r.call.String()
	switch r.outcome {
	case done:
		s += " → done"
	case unknown:
		s += " → no answer (" + r.text + ")"
	case refused, tryAgain:
		s += " → " + r.code + ": " + r.text
	}
	if r.outcome == done && (r.call.verb == "get" || r.call.verb == "list") {
		s += fmt.Sprintf(" %v", r.items)
	}
	return s
}

// worlds are the states that the bridge may be in: there are several when answers were lost, and fewer
// again when it has shown which of them is true. Each has its own lot of requests that may still take
// effect.
type worlds struct {
	all []branch
	// why tells what did not fit, when no world is left.
	why map[string]bool
}

type branch struct {
	world *world
	open  []reply
}

func (b branch) key() string {
	var s strings.Builder
	s.WriteString(b.world.key())
	for _, o := range b.open {
		s.WriteString("? " + o.call.String() + "\n")
	}
	return s.String()
}

// maxBranches bounds the worlds: beyond it a history is not judged to its end.
const maxBranches = 3000

// after returns the worlds after some requests at the same time, of which each reply is true in some
// order. It is empty when there is none.
func (ws worlds) after(replies []reply) worlds {
	next := worlds{why: map[string]bool{}}
	found := map[string]bool{}
	visited := map[string]bool{}
	var explore func(b branch, left []reply)
	explore = func(b branch, left []reply) {
		key := b.key() + fmt.Sprint(len(left), left)
		if visited[key] || len(visited) > 20*maxBranches {
			return
		}
		visited[key] = true
		if len(left) == 0 && !found[b.key()] {
			found[b.key()] = true
			next.all = append(next.all, b)
		}
		for i, o := range b.open {
			if after := happen(b.world, o); after != nil {
				explore(branch{after, slices.Delete(slices.Clone(b.open), i, i+1)}, left)
			}
		}
		for i, r := range left {
			after, why := fits(b.world, r)
			if after == nil {
				next.why[r.String()+"\n      though "+why] = true
				continue
			}
			explore(branch{after, b.open}, slices.Delete(slices.Clone(left), i, i+1))
		}
	}
	var answered, open []reply
	for _, r := range replies {
		switch r.outcome {
		case done, refused:
			answered = append(answered, r)
		case unknown:
			if r.body != nil || r.call.verb == "delete" {
				open = append(open, r)
			}
		case tryAgain:
		}
	}
	for _, b := range ws.all {
		explore(branch{b.world, slices.Concat(b.open, open)}, answered)
	}
	return next
}

// closed returns the worlds in which nothing takes effect any more.
func (ws worlds) closed() worlds {
	next := worlds{}
	seen := map[string]bool{}
	for _, b := range ws.all {
		if key := b.world.key(); !seen[key] {
			seen[key] = true
			next.all = append(next.all, branch{world: b.world})
		}
	}
	return next
}

// parents lists everything that exists in some world.
func (ws worlds) names() map[string]bool {
	names := map[string]bool{}
	for _, b := range ws.all {
		for name := range b.world.things {
			names[name] = true
		}
	}
	return names
}

// happen returns the world after a request without an answer, nil when it would have been refused.
func happen(w *world, r reply) *world {
	var against objections
	var made *thing
	switch r.call.verb {
	case "create":
		against, made = w.create(r.call, r.body)
	case "update":
		against, made = w.update(r.call, r.body)
	default:
		against = w.remove(r.call)
	}
	if len(against) > 0 {
		return nil
	}
	return w.with(r.call.name(), made)
}

// fits returns the world after a request with its reply, or why they do not fit.
func fits(w *world, r reply) (after *world, why string) {
	var against objections
	var made *thing
	switch r.call.verb {
	case "create":
		against, made = w.create(r.call, r.body)
	case "update":
		against, made = w.update(r.call, r.body)
	case "delete":
		against = w.remove(r.call)
	case "list":
		return w.listed(r)
	default: // get, stats
		if made = w.things[r.call.name()]; made == nil {
			against = objections{"NotFound": "it does not exist"}
		}
	}
	if r.outcome == refused {
		if _, ok := against[r.code]; !ok {
			return nil, fmt.Sprintf("the model has these objections: %v", against)
		}
		return w, ""
	}
	if len(against) > 0 {
		return nil, fmt.Sprintf("the model objects: %v", against)
	}
	if r.call.verb == "stats" || r.call.verb == "delete" && w.things[r.call.name()] == nil {
		return w, ""
	}
	if made != nil {
		if made, why = made.shownAs(r.items[r.call.name()]); made == nil {
			return nil, why
		}
	}
	return w.with(r.call.name(), made), ""
}

// shownAs returns the thing as an answer shows it, nil when the answer shows another.
func (x *thing) shownAs(got flat) (_ *thing, why string) {
	want := x.asked.without(x.shape.hidden)
	if x.seen != nil {
		want = x.seen
		if !maps.Equal(want, got) {
			return nil, fmt.Sprintf("it is %v", want)
		}
		return x, ""
	}
	for path, value := range want {
		if got[path] != value {
			return nil, fmt.Sprintf("%s is %q", path, value)
		}
	}
	next := *x
	next.seen = got
	return &next, ""
}

// listed judges a list, of which the pages were put together.
func (w *world) listed(r reply) (*world, string) {
	c := r.call
	against := objections{}
	if c.pageSize < 0 {
		against.add("InvalidArgument", "the page size")
	}
	if c.parent != "" && w.things[c.parent] == nil {
		against.add("NotFound", "the parent")
	}
	if r.outcome == refused {
		if _, ok := against[r.code]; !ok {
			return nil, fmt.Sprintf("the model has these objections: %v", against)
		}
		return w, ""
	}
	if len(against) > 0 {
		return nil, fmt.Sprintf("the model objects: %v", against)
	}
	next := w
	for name, x := range w.things {
		if x.shape != c.shape || x.parent != c.parent {
			continue
		}
		got, listed := r.items[name]
		if !listed {
			return nil, name + " exists"
		}
		shown, why := x.shownAs(got)
		if shown == nil {
			return nil, name + ": " + why
		}
		next = next.with(name, shown)
	}
	for name := range r.items {
		if w.things[name] == nil {
			return nil, name + " does not exist"
		}
	}
	return next, ""
}
