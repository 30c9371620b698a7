// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// TestDeletionOfWhatIsInDoubt deletes what is still being created, and what is still being changed, when
// the store does not take the deletion: what reads show, and refuse by, is the same before, meanwhile and
// after, because the creation and the change may come to nothing yet.
func TestDeletionOfWhatIsInDoubt(t *testing.T) {
	f := &faults{left: -1}
	r := newRig(t, f)
	r.buildDisk()
	r.mustCreate("nullVolumes", "", "vol-2", nullVolume())
	const disk = "nvmeSubsystems/web-1/nvmeNamespaces/disk-1"
	f.set(func() { f.deaf = true })
	_, err := r.create("nvmeSubsystems", "", "web-2", &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN + "-2"}})
	wantClass(t, "create without an answer", err, errdefs.OutcomeUnknown)
	_, err = r.eng.Update(t.Context(), r.kinds["nvmeNamespaces"], disk, namespace("nullVolumes/vol-2"), []string{"spec.volume_name_ref"}, false)
	wantClass(t, "update without an answer", err, errdefs.OutcomeUnknown)

	created := func(when string) {
		_, err := r.get("nvmeSubsystems", "nvmeSubsystems/web-2")
		wantClass(t, when+": get of what is not created yet", err, errdefs.NotFound)
		_, err = r.create("nvmeSubsystems", "", "web-3", &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN + "-2"}})
		wantClass(t, when+": create with its NQN", err, errdefs.Unavailable)
	}
	changed := func(when string) {
		if got := r.volumeOf(disk); got != "nullVolumes/vol-1" {
			t.Errorf("%s: the volume of what is not changed yet is %s", when, got)
		}
		wantClass(t, when+": delete of what it may still use", r.remove("nullVolumes", "nullVolumes/vol-1"), errdefs.Unavailable)
	}
	for _, c := range []struct {
		collection, name string
		look             func(when string)
	}{
		{"nvmeSubsystems", "nvmeSubsystems/web-2", created},
		{"nvmeNamespaces", disk, changed},
	} {
		c.look("before the deletion")
		f.set(func() { f.committing = func() { c.look("before the store has the deletion"); f.arm(away, 0) } })
		wantClass(t, "delete without the store", r.remove(c.collection, c.name), errdefs.Unavailable)
		f.disarm()
		c.look("after the deletion has failed")
	}

	f.set(func() { f.deaf = false })
	r.agree("in the end")
	if got := r.volumeOf(disk); got != "nullVolumes/vol-2" {
		t.Errorf("in the end the volume is %s", got)
	}
}

// TestLastPlaceInDoubt asks for the last place of a subsystem and of a SCSI target while it is in doubt
// whether another has it.
func TestLastPlaceInDoubt(t *testing.T) {
	f := &faults{left: -1}
	r := newRig(t, f)
	for _, id := range []string{"vol-1", "vol-2"} {
		r.mustCreate("nullVolumes", "", id, nullVolume())
	}
	r.mustCreate("nvmeSubsystems", "", "web-1", &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN, MaxNamespaces: 1}})
	r.mustCreate("virtioScsiTargets", "", "scsi-1", &pb.VirtioScsiTarget{MaxLuns: 1})
	last := func(id, collection string) error {
		ref := "nullVolumes/vol-" + id
		if collection == "nvmeNamespaces" {
			_, err := r.create(collection, "nvmeSubsystems/web-1", "disk-"+id, namespace(ref))
			return err
		}
		_, err := r.create(collection, "", "lun-"+id, &pb.VirtioScsiLun{TargetNameRef: "virtioScsiTargets/scsi-1", VolumeNameRef: ref})
		return err
	}
	for _, collection := range []string{"nvmeNamespaces", "virtioScsiLuns"} {
		f.set(func() { f.deaf = true })
		wantClass(t, collection+" without an answer", last("1", collection), errdefs.OutcomeUnknown)
		wantClass(t, "the last place of "+collection+" while it is in doubt", last("2", collection), errdefs.Unavailable)
		f.set(func() { f.deaf = false })
		r.agree(collection + ": the first is there")
		wantClass(t, "the last place of "+collection+" when it is taken", last("2", collection), errdefs.ResourceExhausted)
		name := map[string]string{"nvmeNamespaces": "nvmeSubsystems/web-1/nvmeNamespaces/disk-1", "virtioScsiLuns": "virtioScsiLuns/lun-1"}[collection]
		if err := r.remove(collection, name); err != nil {
			t.Error(err)
		}
	}
}
