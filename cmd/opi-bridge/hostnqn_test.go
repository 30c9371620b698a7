// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/kinds"
)

// TestHostNQN holds the promise of one name for ever: of one machine's instance, and of no other.
func TestHostNQN(t *testing.T) {
	machine := func(file, id string) string {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, file), []byte(id+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return root
	}
	const firmware, system = "/sys/class/dmi/id/product_uuid", "/etc/machine-id"
	one := machine(firmware, "4C4C4544-0042-3510-8053-B4C04F4D3132")
	of := func(root, instance string) string { return (&settings{instance: instance}).hostNQN(root) }
	const want = "nqn.2014-08.org.nvmexpress:uuid:cfaac8e9-5369-5cfb-abd0-fc1f83874a1c"
	if got := of(one, "dpu-1"); got != want {
		t.Errorf("got %s, and it was %s in earlier versions", got, want)
	}
	seen := map[string]string{}
	for what, nqn := range map[string]string{
		"one machine": of(one, "dpu-1"), "another instance": of(one, "dpu-2"), "another machine": of(machine(firmware, "other"), "dpu-1"),
		"without firmware": of(machine(system, "b08dfa6083e7567a1921a715000001fb"), "dpu-1"), "with neither": of(t.TempDir(), "dpu-1"),
	} {
		if err := kinds.CheckNQN(nqn); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if seen[nqn] != "" {
			t.Errorf("%s has the NQN of %s", what, seen[nqn])
		}
		seen[nqn] = what
	}
	if got := (&settings{hostNQNGiven: "nqn.2024-01.io.example:dpu"}).hostNQN(one); got != "nqn.2024-01.io.example:dpu" {
		t.Errorf("given another, it is %s", got)
	}
}
