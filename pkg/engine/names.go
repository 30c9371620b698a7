// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"iter"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// maxRun bounds the names that are moved to make room for one: 4 KiB of them.
const maxRun = 256

// names is a set of names in their order. They lie in runs of bounded length, so that adding one costs
// about the same in a set of a hundred thousand as in one of a hundred. Nil is an empty set to read.
// Not safe for concurrent use.
type names struct {
	runs  [][]resource.Name // none is empty, and all of one is less than all of the next
	count int
}

func (s *names) len() int {
	if s == nil {
		return 0
	}
	return s.count
}

// run returns the index of the first run whose last name is not less than name; len(s.runs) if there is
// none.
func (s *names) run(name resource.Name) int {
	at, _ := slices.BinarySearchFunc(s.runs, name, func(run []resource.Name, name resource.Name) int {
		return cmp.Compare(run[len(run)-1], name)
	})
	return at
}

// add adds a name, unless it is there.
func (s *names) add(name resource.Name) {
	r := s.run(name)
	if r == len(s.runs) {
		if r == 0 {
			s.runs = append(s.runs, nil)
		} else {
			r-- // behind all: the last run grows
		}
	}
	run := s.runs[r]
	at, there := slices.BinarySearch(run, name)
	if there {
		return
	}
	s.count++
	run = slices.Insert(run, at, name)
	s.runs[r] = run
	if len(run) > maxRun {
		// Names that come in their order leave full runs behind; others leave halves.
		cut := maxRun / 2
		if at == len(run)-1 {
			cut = maxRun
		}
		s.runs[r] = run[:cut:cut]
		s.runs = slices.Insert(s.runs, r+1, slices.Clone(run[cut:]))
	}
}

// remove takes a name out, if it is there.
func (s *names) remove(name resource.Name) {
	if s == nil {
		return
	}
	r := s.run(name)
	if r == len(s.runs) {
		return
	}
	at, there := slices.BinarySearch(s.runs[r], name)
	if !there {
		return
	}
	s.count--
	if s.runs[r] = slices.Delete(s.runs[r], at, at+1); len(s.runs[r]) == 0 {
		s.runs = slices.Delete(s.runs, r, r+1)
	}
}

// all goes through the names in their order. The set must not be changed meanwhile.
func (s *names) all() iter.Seq[resource.Name] { return s.behind("") }

// behind goes through the names that are greater than after, which need not be in the set, in their
// order. The set must not be changed meanwhile.
func (s *names) behind(after resource.Name) iter.Seq[resource.Name] {
	return func(yield func(resource.Name) bool) {
		if s == nil {
			return
		}
		r := s.run(after)
		if r == len(s.runs) {
			return
		}
		at, there := slices.BinarySearch(s.runs[r], after)
		if there {
			at++
		}
		for ; r < len(s.runs); r, at = r+1, 0 {
			for _, name := range s.runs[r][at:] {
				if !yield(name) {
					return
				}
			}
		}
	}
}
