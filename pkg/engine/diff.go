// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// change is one difference between what should be and what is there, with its remedy.
type change struct {
	remedy remedy
	want   driver.Object // nil for remove
	have   driver.Object // nil for create
}

type remedy uint8

const (
	create remedy = iota + 1
	update
	replace
	rebuild
	remove
)

func (r remedy) String() string {
	return [...]string{create: "create", update: "update", replace: "replace", rebuild: "rebuild", remove: "remove"}[r]
}

// observed looks up what is there.
type observed func(driver.Key) driver.Object

// diff returns what to change for a resource, in the order in which its objects stand. It fails when
// what is there must not be touched.
func diff(rec *resource.Record, objects, obsolete []driver.Object, there observed) ([]change, error) {
	var changes []change
	if rec.State == resource.StateDeleting {
		for _, o := range append(append([]driver.Object{}, objects...), obsolete...) {
			if have := there(o.Key()); have != nil && ours(o, have) {
				changes = append(changes, change{remedy: remove, have: have})
			}
		}
		return changes, nil
	}
	wanted := map[driver.Key]bool{}
	for _, want := range objects {
		wanted[want.Key()] = true
		have := there(want.Key())
		if have == nil {
			changes = append(changes, change{remedy: create, want: want})
			continue
		}
		differences := want.Differences(have)
		if len(differences) == 0 {
			continue
		}
		switch want.Remedy(differences) {
		case driver.RemedyUpdate:
			changes = append(changes, change{remedy: update, want: want, have: have})
		case driver.RemedyReplace:
			changes = append(changes, change{remedy: replace, want: want, have: have})
		case driver.RemedyRebuild:
			changes = append(changes, change{remedy: rebuild, want: want, have: have})
		case driver.RemedyNone:
			return nil, conflict(want, differences)
		}
	}
	for _, o := range obsolete {
		if have := there(o.Key()); have != nil && !wanted[o.Key()] {
			changes = append(changes, change{remedy: remove, have: have})
		}
	}
	return changes, nil
}

// ours says whether what is there under a key of ours is what we made, and not somebody else's that
// took the name after ours had gone.
func ours(want, have driver.Object) bool {
	differences := want.Differences(have)
	return len(differences) == 0 || want.Remedy(differences) != driver.RemedyNone
}

func conflict(want driver.Object, differences []string) error {
	return errdefs.New(errdefs.AlreadyExists,
		"the data plane has another %s that the bridge did not make (%s differ): remove it, or use another name",
		describe(want.Key()), strings.Join(differences, ", "))
}

// describe writes a key for people: "bdev vol-1", "namespace nqn.2024-01.io.example:a 1".
func describe(key driver.Key) string {
	return fmt.Sprintf("%s %s", key.Type, strings.ReplaceAll(key.ID, "|", " "))
}
