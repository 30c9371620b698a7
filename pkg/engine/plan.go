// SPDX-License-Identifier: Apache-2.0

package engine

import "github.com/opi-bridge/opi-bridge/pkg/driver"

// planned is the plan for a set of resources: steps for the driver, and for each step whose it is.
type planned struct {
	steps []driver.Step
	// owner is the index of the resource in the list that plan was given.
	owner []int
}

// cause returns the step whose failure has kept a step from being tried.
func (p *planned) cause(i int, errs []error) int {
	for _, before := range p.steps[i].After {
		if errs[before] != nil {
			return p.cause(before, errs)
		}
	}
	return i
}

// plan orders the changes of several resources into one batch. What an object needs is made before
// it, and an entrance after everything that hosts are to find behind it, but not after what was tried
// before and failed (tried; nil for none): that may fail for ever. What needs an object is
// removed before it; what one resource has no use for any more goes after everything new of that
// resource is there, so that hosts never lack both. What is rebuilt goes, with all that stands on it,
// before it is made again.
func plan(changes [][]change, tried []bool, adopt bool) planned {
	p := planner{tried: tried, made: map[driver.Key]int{}, behind: map[driver.Key][]int{}, removals: map[driver.Key][]int{}, removed: map[driver.Key]int{}}
	// Removals first in the list, because a step may only wait for earlier ones: dependents before
	// what they need, which a second round takes care of.
	for i, list := range changes {
		for _, c := range list {
			if c.remedy == rebuild || c.remedy == remove && !makesAnything(list) {
				p.pending = append(p.pending, removal{c.have, i})
			}
		}
	}
	p.removeInOrder()
	wanted := map[driver.Key]pendingMake{}
	var order []driver.Key
	for i, list := range changes {
		for _, c := range list {
			if c.want != nil {
				wanted[c.want.Key()] = pendingMake{c, i}
				order = append(order, c.want.Key())
			}
		}
	}
	for _, key := range order {
		if _, last := wanted[key].want.(driver.Entrance); !last {
			p.make(key, wanted, adopt)
		}
	}
	for _, key := range order {
		p.make(key, wanted, adopt)
	}
	for i, list := range changes {
		if !makesAnything(list) {
			continue
		}
		for _, c := range list {
			if c.remedy == remove {
				p.add(driver.Step{Op: driver.Delete, Object: c.have, After: p.madeBy(i)}, i)
			}
		}
	}
	return p.planned
}

type planner struct {
	planned
	tried    []bool               // by owner
	made     map[driver.Key]int   // the step that makes an object
	behind   map[driver.Key][]int // the steps that make what needs an object, without entrances
	removals map[driver.Key][]int // the steps that remove what needs an object
	removed  map[driver.Key]int   // the step that removes an object
	pending  []removal
}

type removal struct {
	object driver.Object
	owner  int
}

type pendingMake struct {
	change
	owner int
}

func makesAnything(list []change) bool {
	for _, c := range list {
		if c.want != nil {
			return true
		}
	}
	return false
}

func (p *planner) add(s driver.Step, owner int) int {
	p.steps = append(p.steps, s)
	p.owner = append(p.owner, owner)
	return len(p.steps) - 1
}

// removeInOrder plans the pending removals, dependents first.
func (p *planner) removeInOrder() {
	going := map[driver.Key]bool{}
	for _, r := range p.pending {
		going[r.object.Key()] = true
	}
	// Dependency is one or two levels deep (a namespace needs a bdev and a subsystem), so this ends
	// after as many rounds; a cycle, which no driver has, would be cut by the round limit.
	for range len(p.pending) + 1 {
		needed := map[driver.Key]bool{}
		for _, r := range p.pending {
			for _, need := range r.object.Needs() {
				needed[need] = true
			}
		}
		var later []removal
		for _, r := range p.pending {
			if needed[r.object.Key()] {
				later = append(later, r)
				continue
			}
			at := p.add(driver.Step{Op: driver.Delete, Object: r.object, After: p.removals[r.object.Key()]}, r.owner)
			p.removed[r.object.Key()] = at
			for _, need := range r.object.Needs() {
				if going[need] {
					p.removals[need] = append(p.removals[need], at)
				}
			}
		}
		p.pending = later
		if len(later) == 0 {
			return
		}
	}
}

// make plans the object under key, after what it needs.
func (p *planner) make(key driver.Key, wanted map[driver.Key]pendingMake, adopt bool) {
	if _, done := p.made[key]; done {
		return
	}
	w := wanted[key]
	var after []int
	for _, need := range w.want.Needs() {
		if _, ok := wanted[need]; ok {
			p.make(need, wanted, adopt)
			after = append(after, p.made[need])
		}
	}
	entrance, isEntrance := w.want.(driver.Entrance)
	if isEntrance {
		after = append(after, p.behind[entrance.LeadsTo()]...)
	}
	switch w.remedy {
	case update:
		p.made[key] = p.add(driver.Step{Op: driver.Update, Object: w.want, From: w.have, After: after}, w.owner)
	case replace:
		gone := p.add(driver.Step{Op: driver.Delete, Object: w.have, After: after}, w.owner)
		p.made[key] = p.add(driver.Step{Op: driver.Create, Object: w.want, After: []int{gone}}, w.owner)
	case rebuild:
		after = append(after, p.removed[key])
		p.made[key] = p.add(driver.Step{Op: driver.Create, Object: w.want, After: after}, w.owner)
	case create, remove:
		p.made[key] = p.add(driver.Step{Op: driver.Create, Object: w.want, Adopt: adopt, After: after}, w.owner)
	}
	if isEntrance || p.tried != nil && p.tried[w.owner] {
		return
	}
	for _, need := range w.want.Needs() {
		p.behind[need] = append(p.behind[need], p.made[key])
	}
}

// madeBy lists the steps that make what the resource wants.
func (p *planner) madeBy(owner int) []int {
	var steps []int
	for i, o := range p.owner {
		if o == owner && p.steps[i].Op != driver.Delete {
			steps = append(steps, i)
		}
	}
	return steps
}
