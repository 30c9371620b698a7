// SPDX-License-Identifier: Apache-2.0

package api

import (
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Any form of a name leads to one name of the kind, and back, and nothing panics.
func FuzzCompatNames(f *testing.F) {
	all, err := kinds.All()
	if err != nil {
		f.Fatal(err)
	}
	c := &compat{kinds: all}
	for _, name := range []string{
		"", "a", "volumes/a", "volumes/", "/", "volumes//", "nullVolumes/a", "nvmeSubsystems/s/nvmeNamespaces/n", "volumes/a/b",
	} {
		for i := range all {
			f.Add(i, name)
		}
	}
	f.Fuzz(func(t *testing.T, i int, name string) {
		kind := all[uint(i)%uint(len(all))]
		native := c.native(kind, name)
		if !kind.Owns(resource.Name(native)) {
			return
		}
		foreign := c.foreign(native)
		if again := c.native(kind, foreign); again != native {
			t.Errorf("%s: %q is %q, given back as %q, which is %q", kind.Plural(), name, native, foreign, again)
		}
		if again := c.foreign(foreign); again != foreign {
			t.Errorf("%s: %q is given back as %q, and that as %q", kind.Plural(), native, foreign, again)
		}
	})
}
