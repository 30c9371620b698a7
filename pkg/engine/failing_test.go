// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// mutation is one request whose every step is made to fail.
type mutation struct {
	name       string
	collection string
	full       string // the resource's name
	do         func(r *rig) error
	undo       func(r *rig) error // brings back the state before a do that succeeded
}

// everyStepMayFail fails call 0, 1, 2 … to data plane and store, in every way, until the request goes
// through untouched. After each failure the resource is wholly as before or wholly as asked for, store
// and data plane agree, and the same request then succeeds.
func everyStepMayFail(t *testing.T) {
	f := &faults{left: -1}
	r := newRig(t, f)
	r.buildDisk()
	r.mustCreate("nullVolumes", "", "vol-2", nullVolume())
	const disk = "nvmeSubsystems/web-1/nvmeNamespaces/disk-1"
	guarded := &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN + "-2", Hostnqn: "nqn.2024-01.io.example:host"}}
	swap := func(ref string) func(r *rig) error {
		return func(r *rig) error {
			_, err := r.eng.Update(r.t.Context(), r.kinds["nvmeNamespaces"], disk, namespace(ref), []string{"spec.volume_name_ref"}, false)
			return err
		}
	}
	create := func(collection, id string, m proto.Message) func(r *rig) error {
		return func(r *rig) error { _, err := r.create(collection, "", id, m); return err }
	}
	remove := func(collection, name string) func(r *rig) error {
		return func(r *rig) error { return r.eng.Delete(r.t.Context(), r.kinds[collection], name, true) }
	}
	for _, m := range []mutation{
		{"create a volume", "nullVolumes", "nullVolumes/vol-3", create("nullVolumes", "vol-3", nullVolume()), remove("nullVolumes", "nullVolumes/vol-3")},
		{"create a guarded subsystem", "nvmeSubsystems", "nvmeSubsystems/web-2", create("nvmeSubsystems", "web-2", guarded), remove("nvmeSubsystems", "nvmeSubsystems/web-2")},
		{"exchange a volume", "nvmeNamespaces", disk, swap("nullVolumes/vol-2"), swap("nullVolumes/vol-1")},
		{"delete a volume", "nullVolumes", "nullVolumes/vol-3", remove("nullVolumes", "nullVolumes/vol-3"), create("nullVolumes", "vol-3", nullVolume())},
		{"delete a guarded subsystem", "nvmeSubsystems", "nvmeSubsystems/web-2", remove("nvmeSubsystems", "nvmeSubsystems/web-2"), create("nvmeSubsystems", "web-2", guarded)},
	} {
		if m.name[0] == 'd' {
			if err := m.undo(r); err != nil {
				t.Fatal(err)
			}
		}
		for _, kind := range []fault{refused, away, lostDone, lostNot} {
			for n := 0; ; n++ {
				what := fmt.Sprintf("%s, call %d %s", m.name, n, kind)
				f.arm(kind, n)
				err := m.do(r)
				fired := f.disarm()
				if !fired {
					if err != nil {
						t.Fatalf("%s: failed without a fault: %v", what, err)
					}
					break
				}
				r.agree(what)
				if err := m.do(r); err != nil {
					t.Fatalf("%s: the same request again: %v", what, err)
				}
				r.agree(what + ", again")
				if err := m.undo(r); err != nil {
					t.Fatalf("%s: taking it back: %v", what, err)
				}
				if n > 50 {
					t.Fatalf("%s: no end of calls", what)
				}
			}
			if err := m.undo(r); err != nil {
				t.Fatalf("%s: taking it back: %v", m.name, err)
			}
		}
		r.restart()
		r.agree(m.name + ", after a restart")
	}
}

// agree waits until nothing is pending and checks that index, store and data plane say the same.
func (r *rig) agree(what string) {
	r.t.Helper()
	r.eng.Audit()
	testkit.Eventually(r.t, what+": nothing pending", func() error {
		s := r.eng.Status()
		if !s.Settled || s.NotReadyCount > 0 || s.Resources["CREATING"]+s.Resources["UPDATING"]+s.Resources["DELETING"] > 0 {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	docs, err := r.store.Load(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	total := 0
	for _, k := range r.kinds {
		for _, d := range docs {
			n, err := k.Parse("name", d.Name)
			if err != nil {
				continue
			}
			total++
			stored, err := k.Decode(n, d.Revision, d.Body, nil)
			if err != nil {
				r.t.Fatal(err)
			}
			got, err := r.get(k.Plural(), d.Name)
			if err != nil {
				r.t.Fatalf("%s: stored, and %v", what, err)
			}
			if differ := resource.Changed(stored.Message, got); len(differ) > 0 {
				r.t.Fatalf("%s: %s is stored as %v and served as %v", what, d.Name, stored.Message, got)
			}
		}
	}
	s := r.eng.Status()
	if n := s.Resources["READY"]; n != total {
		r.t.Fatalf("%s: %d resources in memory, %d in the store", what, n, total)
	}
	want := r.eng.Objects()
	have := r.there()
	for key, o := range want {
		if have[key] == nil || len(o.Differences(have[key])) > 0 {
			r.t.Fatalf("%s: %s should be %+v and is %+v", what, key, o, have[key])
		}
	}
	for key, o := range have {
		if want[key] == nil {
			r.t.Fatalf("%s: %s is left over: %+v", what, key, o)
		}
	}
}
