// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// foreign is what others have put into the objects of resources, or onto them. It is never touched:
// whoever made it may need it.
type foreign struct {
	types  map[driver.Type]int
	within map[resource.Name][]string
}

// maxForeign bounds how much is named for each resource.
const maxForeign = 100

// findForeign looks through what there is for what nobody wants, and what stands in or on something
// of ours.
func (e *Engine) findForeign() {
	e.mu.RLock()
	found := foreign{types: map[driver.Type]int{}, within: map[resource.Name][]string{}}
	groups := e.index.groups()
	for key, o := range e.world.objects {
		if e.index.owners[key] != "" {
			continue
		}
		hosts := map[resource.Name]bool{}
		for _, need := range o.Needs() {
			if owner := e.index.owners[need]; owner != "" {
				hosts[owner] = true
			}
		}
		if m, ok := o.(driver.Member); ok && groups[m.Group()] != "" {
			hosts[groups[m.Group()]] = true
		}
		if len(hosts) > 0 {
			found.types[key.Type]++
		}
		for name := range hosts {
			found.within[name] = append(found.within[name], describe(key))
		}
	}
	for name, all := range found.within {
		slices.Sort(all)
		found.within[name] = all[:min(len(all), maxForeign)]
	}
	before := e.foreign
	e.mu.RUnlock()
	if maps.EqualFunc(before.within, found.within, slices.Equal) {
		return
	}
	for name, all := range found.within {
		for _, what := range all {
			if !slices.Contains(before.within[name], what) {
				e.cfg.Log.Warn("somebody else's object is in ours, and is left alone", "resource", name, "object", what)
			}
		}
	}
	e.mu.Lock()
	e.foreign = found
	e.mu.Unlock()
}

// groups tells who looks after each group that members of ours belong to: the resource above theirs.
func (x *index) groups() map[string]resource.Name {
	groups := map[string]resource.Name{}
	for name, en := range x.entries {
		for _, o := range en.objects {
			if m, ok := o.(driver.Member); ok {
				groups[m.Group()] = name.Parent()
			}
		}
	}
	return groups
}
