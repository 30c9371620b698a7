// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

const nqn = "nqn.2024-01.io.example:a"

var (
	vol   = &driver.Bdev{Name: "vol-1", Kind: driver.BdevNull, BlockSizeBytes: 512, Blocks: 8, UUID: "u1"}
	grown = &driver.Bdev{Name: "vol-1", Kind: driver.BdevNull, BlockSizeBytes: 512, Blocks: 16, UUID: "u1"}
	other = &driver.Bdev{Name: "vol-1", Kind: driver.BdevNull, BlockSizeBytes: 512, Blocks: 8, UUID: "u2"}
	vol2  = &driver.Bdev{Name: "vol-2", Kind: driver.BdevNull, BlockSizeBytes: 512, Blocks: 8, UUID: "u3"}
	sub   = &driver.Subsystem{NQN: nqn, SerialNumber: "s", AllowAnyHost: true}
	fixed = &driver.Subsystem{NQN: nqn, SerialNumber: "s", AllowAnyHost: true, MinCntlid: 7, MaxCntlid: 7}
	guard = &driver.Subsystem{NQN: nqn, SerialNumber: "s"}
	host  = &driver.Host{Subsystem: nqn, NQN: "nqn.2024-01.io.example:host"}
	lis   = &driver.Listener{Subsystem: nqn, Address: driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "127.0.0.1", Trsvcid: "4420"}}
	lis2  = &driver.Listener{Subsystem: nqn, Address: driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "127.0.0.2", Trsvcid: "4420"}}
	ns    = &driver.Namespace{Subsystem: nqn, NSID: 1, Bdev: "vol-1", UUID: "n", NGUID: "g"}
	ns2   = &driver.Namespace{Subsystem: nqn, NSID: 1, Bdev: "vol-2", UUID: "n", NGUID: "g"}
)

// wish is a resource in a planning scenario.
type wish struct {
	state             resource.State
	objects, obsolete []driver.Object
}

// TestPlans holds the planned call sequences to golden files, which a reviewer can read.
func TestPlans(t *testing.T) {
	is := func(objects ...driver.Object) wish { return wish{state: resource.StateReady, objects: objects} }
	for _, row := range []struct {
		name   string
		there  []driver.Object
		wishes []wish
	}{
		{"everything from nothing", nil, []wish{is(vol), is(guard, host), is(lis), is(ns)}},
		{"children before parents in the list", nil, []wish{is(ns), is(lis), is(sub), is(vol)}},
		{"nothing to do", []driver.Object{vol, sub, lis, ns}, []wish{is(vol), is(sub), is(lis), is(ns)}},
		{"an empty subsystem gets another range", []driver.Object{sub}, []wish{is(fixed), is(lis)}},
		{"a namespace is missing", []driver.Object{vol, sub}, []wish{is(vol), is(sub), is(ns)}},
		{"a volume has grown", []driver.Object{vol}, []wish{is(grown)}},
		{"a stranger has taken the name", []driver.Object{other}, []wish{is(vol)}},
		{"a host instead of any", []driver.Object{sub}, []wish{{resource.StateUpdating, []driver.Object{guard, host}, []driver.Object{sub}}}},
		{"a listener moves", []driver.Object{sub, lis}, []wish{{resource.StateUpdating, []driver.Object{lis2}, []driver.Object{lis}}}},
		{"a namespace gets another volume", []driver.Object{sub, vol, vol2, ns}, []wish{{resource.StateUpdating, []driver.Object{ns2}, []driver.Object{ns}}}},
		{"everything goes", []driver.Object{vol, guard, host, lis, ns}, []wish{
			{state: resource.StateDeleting, objects: []driver.Object{vol}},
			{state: resource.StateDeleting, objects: []driver.Object{guard, host}},
			{state: resource.StateDeleting, objects: []driver.Object{lis}},
			{state: resource.StateDeleting, objects: []driver.Object{ns}},
		}},
		{"a stranger is not deleted", []driver.Object{other}, []wish{{state: resource.StateDeleting, objects: []driver.Object{vol}}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			there := map[driver.Key]driver.Object{}
			for _, o := range row.there {
				there[o.Key()] = o
			}
			var out strings.Builder
			var changes [][]change
			for i, w := range row.wishes {
				rec := &resource.Record{Name: resource.Name(fmt.Sprintf("things/%d", i)), State: w.state}
				list, err := diff(rec, w.objects, w.obsolete, func(k driver.Key) driver.Object { return there[k] })
				if err != nil {
					fmt.Fprintf(&out, "%s: %v\n", rec.Name, err)
				}
				changes = append(changes, list)
			}
			for i, s := range plan(changes, nil, true).steps {
				fmt.Fprintf(&out, "%d %s %s", i, s.Op, describe(s.Object.Key()))
				if len(s.After) > 0 {
					fmt.Fprintf(&out, " after %v", s.After)
				}
				out.WriteByte('\n')
			}
			golden(t, strings.ReplaceAll(row.name, " ", "_"), out.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "plans", name+".txt")
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: write it with -rewrite", err)
	}
	if got != string(want) {
		t.Errorf("planned\n%swant\n%s", got, want)
	}
}
