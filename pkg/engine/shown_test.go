// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestReadsShowOutcomes looks while a change is under way: it may still come to nothing, so it is not
// shown, and nobody is told anything that rests on it.
func TestReadsShowOutcomes(t *testing.T) {
	f := &faults{left: -1}
	r := newRig(t, f)
	r.buildDisk()
	r.mustCreate("nullVolumes", "", "vol-2", nullVolume())
	const disk = "nvmeSubsystems/web-1/nvmeNamespaces/disk-1"
	other := &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN + "-2"}}

	// A create that is refused in the end.
	f.whileApplying(func() {
		_, err := r.get("nvmeSubsystems", "nvmeSubsystems/web-2")
		wantClass(t, "get of what is being created", err, errdefs.NotFound)
		if names := r.list("nvmeSubsystems", ""); len(names) != 1 {
			t.Errorf("list while a second is being created: %v", names)
		}
		_, err = r.create("nvmeSubsystems", "", "web-3", other)
		wantClass(t, "create with an NQN that another may get", err, errdefs.Unavailable)
		_, err = r.create("nvmeNamespaces", "nvmeSubsystems/web-2", "disk-1", namespace("nullVolumes/vol-2"))
		wantClass(t, "create below what is being created", err, errdefs.Unavailable)
		f.arm(refused, 0)
	})
	_, err := r.create("nvmeSubsystems", "", "web-2", other)
	wantClass(t, "create that is refused", err, errdefs.Internal)
	f.disarm()

	// A namespace that is being made may use the volume; a volume that is being made is none yet.
	f.whileApplying(func() {
		wantClass(t, "delete of what may be in use", r.remove("nullVolumes", "nullVolumes/vol-2"), errdefs.Unavailable)
	})
	r.mustCreate("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-2", namespace("nullVolumes/vol-2"))
	wantClass(t, "delete of what is in use", r.remove("nullVolumes", "nullVolumes/vol-2"), errdefs.FailedPrecondition)
	if err := r.remove("nvmeNamespaces", "nvmeSubsystems/web-1/nvmeNamespaces/disk-2"); err != nil {
		t.Fatal(err)
	}
	f.whileApplying(func() {
		_, err := r.create("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-3", namespace("nullVolumes/vol-3"))
		wantClass(t, "create on a volume that is being created", err, errdefs.Unavailable)
	})
	r.mustCreate("nullVolumes", "", "vol-3", nullVolume())

	// An update.
	swap := func(ref string) error {
		_, err := r.eng.Update(t.Context(), r.kinds["nvmeNamespaces"], disk, namespace(ref), []string{"spec.volume_name_ref"}, false)
		return err
	}
	f.whileApplying(func() {
		if got := r.volumeOf(disk); got != "nullVolumes/vol-1" {
			t.Errorf("while the volume is exchanged it is %s", got)
		}
	})
	if err := swap("nullVolumes/vol-2"); err != nil {
		t.Fatal(err)
	}
	if got := r.volumeOf(disk); got != "nullVolumes/vol-2" {
		t.Errorf("after the volume was exchanged it is %s", got)
	}

	// A deletion.
	f.whileApplying(func() {
		if _, err := r.get("nullVolumes", "nullVolumes/vol-1"); err != nil {
			t.Errorf("get of what is being deleted: %v", err)
		}
		wantClass(t, "use of what is being deleted", swap("nullVolumes/vol-1"), errdefs.Unavailable)
	})
	if err := r.remove("nullVolumes", "nullVolumes/vol-1"); err != nil {
		t.Fatal(err)
	}
	_, err = r.get("nullVolumes", "nullVolumes/vol-1")
	wantClass(t, "get of what is deleted", err, errdefs.NotFound)
	r.agree("in the end")
}

// TestDoubtIsNotShown loses the answer of each store write of a create and an update: what is read then
// is what was before, until it is certain.
func TestDoubtIsNotShown(t *testing.T) {
	f := &faults{left: -1}
	r := newRig(t, f)
	r.mustCreate("nvmeSubsystems", "", "web-1", subsystem())
	f.whileApplying(func() { f.arm(lostNot, 1) }) // the step is done, the outcome not written
	_, err := r.create("nullVolumes", "", "vol-1", nullVolume())
	wantClass(t, "create without a note of its outcome", err, errdefs.OutcomeUnknown)
	f.disarm()
	// It is finished some time: from then on it stays.
	seen := false
	for range 2 {
		if _, err := r.get("nullVolumes", "nullVolumes/vol-1"); seen && err != nil {
			t.Errorf("it was there, and then: %v", err)
		} else if err == nil {
			seen = true
		}
		r.agree("after the create")
	}
	if !seen {
		t.Error("what the data plane has done and the store has taken was given up")
	}
}

// TestReplacedEngineAnswersNothing: what an engine knows is worth nothing once another may have changed
// it, be it in a read or in the refusal of a change.
func TestReplacedEngineAnswersNothing(t *testing.T) {
	r := newRig(t, nil)
	r.mustCreate("nullVolumes", "", "vol-1", nullVolume())
	r.stop()
	var replaced error
	r.confirm = func(context.Context) error { return replaced }
	r.start()
	kind, ctx := r.kinds["nullVolumes"], t.Context()
	calls := map[string]func() error{
		"get":               func() error { _, err := r.get("nullVolumes", "nullVolumes/vol-1"); return err },
		"list":              func() error { _, _, err := r.eng.List(ctx, kind, "", "", 10); return err },
		"stats":             func() error { _, err := r.eng.Stats(ctx, kind, "nullVolumes/vol-1"); return err },
		"create again":      func() error { _, err := r.create("nullVolumes", "", "vol-1", nullVolume()); return err },
		"delete of nothing": func() error { return r.eng.Delete(ctx, kind, "nullVolumes/vol-9", true) },
		"update of nothing changed": func() error {
			_, err := r.eng.Update(ctx, kind, "nullVolumes/vol-1", nullVolume(), []string{"blocks_count"}, false)
			return err
		},
	}
	for what, call := range calls {
		if err := call(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	replaced = errors.New("another has it")
	for what, call := range calls {
		wantClass(t, what, call(), errdefs.Unavailable)
	}
	_, err := r.get("nullVolumes", "nullVolumes/vol-9")
	wantClass(t, "get of nothing", err, errdefs.Unavailable)
}

func (r *rig) list(collection, parent string) []proto.Message {
	r.t.Helper()
	items, _, err := r.eng.List(r.t.Context(), r.kinds[collection], parent, "", 100)
	if err != nil {
		r.t.Errorf("list of %s: %v", collection, err)
	}
	return items
}

func (r *rig) volumeOf(disk string) string {
	r.t.Helper()
	m, err := r.get("nvmeNamespaces", disk)
	if err != nil {
		r.t.Errorf("get of %s: %v", disk, err)
	}
	ns, ok := m.(*pb.NvmeNamespace)
	if !ok {
		return ""
	}
	return ns.GetSpec().GetVolumeNameRef()
}

// whileApplying runs once, when the data plane is about to be changed for the first time from now on.
func (f *faults) whileApplying(then func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applying = then
}

func (f *faults) aboutToApply(steps []driver.Step) {
	f.mu.Lock()
	then := f.applying
	if len(steps) > 0 {
		f.applying = nil
	}
	f.mu.Unlock()
	if then != nil && len(steps) > 0 {
		then()
	}
}

// TestDoubtIsLookedInto deletes and changes what the data plane has, though it did not say so.
func TestDoubtIsLookedInto(t *testing.T) {
	f := &faults{left: -1}
	r := newRig(t, f)
	f.arm(lostDone, 1)
	_, err := r.create("nullVolumes", "", "vol-1", nullVolume())
	wantClass(t, "create whose answer is lost", err, errdefs.OutcomeUnknown)
	f.disarm()
	if err := r.remove("nullVolumes", "nullVolumes/vol-1"); err != nil {
		t.Fatalf("delete of what may be there: %v", err)
	}
	if left := r.there(); len(left) > 0 {
		t.Errorf("deleted, and left in the data plane: %v", left)
	}
	r.agree("after the delete")
	r.mustCreate("nullVolumes", "", "vol-1", nullVolume())
}

// TestNewDataPlaneRefusesNothing restarts the data plane when a namespace is about to be made: that
// the new one has no subsystem for it is no reason to refuse the request.
func TestNewDataPlaneRefusesNothing(t *testing.T) {
	f := &faults{left: -1}
	r := newRig(t, f)
	r.buildDisk()
	r.mustCreate("nullVolumes", "", "vol-2", nullVolume())
	f.whileApplying(func() {
		epoch := r.driver.Status().Epoch
		r.dataPlane.Restart()
		testkit.Eventually(t, "connected again", func() error {
			if s := r.driver.Status(); !s.Up || s.Epoch == epoch {
				return errors.New("not yet")
			}
			return nil
		})
	})
	_, err := r.create("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-2", namespace("nullVolumes/vol-2"))
	if class := errdefs.ClassOf(err); err != nil && class != errdefs.OutcomeUnknown && class != errdefs.Unavailable {
		t.Errorf("create while the data plane is replaced: %v", err)
	}
	r.agree("after the restart")
}

// TestStatsOfWhatIsLost: a resource does not cease to exist with its objects.
func TestStatsOfWhatIsLost(t *testing.T) {
	r := newRig(t, nil)
	r.mustCreate("nullVolumes", "", "vol-1", nullVolume())
	r.behind(driver.Delete, &driver.Bdev{Name: "vol-1", Kind: driver.BdevNull})
	if _, err := r.eng.Stats(t.Context(), r.kinds["nullVolumes"], "nullVolumes/vol-1"); err != nil { // it may be back already
		wantClass(t, "stats", err, errdefs.Unavailable)
	}
}
