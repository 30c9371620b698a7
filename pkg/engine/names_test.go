// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// TestNamesAreASortedSet compares the set with a plain sorted slice, in sizes that make runs split and
// vanish.
func TestNamesAreASortedSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s names
		var model []resource.Name
		name := func(n int) resource.Name { return resource.Name(fmt.Sprintf("v/%06d", n)) }
		for range rapid.IntRange(1, 30).Draw(t, "rounds") {
			first := rapid.IntRange(0, 5000).Draw(t, "first")
			step := rapid.SampledFrom([]int{1, 7, -1}).Draw(t, "step")
			remove := rapid.Bool().Draw(t, "remove")
			for i := range rapid.IntRange(1, 400).Draw(t, "count") {
				n := name(max(0, first+i*step))
				at, there := slices.BinarySearch(model, n)
				switch {
				case remove:
					if s.remove(n); there {
						model = slices.Delete(model, at, at+1)
					}
				default:
					if s.add(n); !there {
						model = slices.Insert(model, at, n)
					}
				}
			}
			if got := slices.Collect(s.all()); !slices.Equal(got, model) || s.len() != len(model) {
				t.Fatalf("%d names (len %d), want %d", len(got), s.len(), len(model))
			}
			for _, run := range s.runs {
				if len(run) == 0 || len(run) > maxRun {
					t.Fatalf("a run of %d", len(run))
				}
			}
			after := name(rapid.IntRange(0, 5400).Draw(t, "after"))
			from, there := slices.BinarySearch(model, after)
			if there {
				from++
			}
			if got := slices.Collect(s.behind(after)); !slices.Equal(got, model[from:]) {
				t.Fatalf("behind %s: %d names, want %d", after, len(got), len(model[from:]))
			}
		}
	})
	var none *names
	if none.len() != 0 || len(slices.Collect(none.all())) != 0 {
		t.Error("nil is not an empty set")
	}
}
