// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"errors"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// strangers are objects of several kinds that others have made.
func strangers() []driver.Step {
	const nqn, uuid = "nqn.2024-01.io.example:theirs", "aaaaaaaa-0000-4000-8000-000000000001"
	return []driver.Step{
		{Op: driver.Create, Object: &driver.Bdev{Name: "theirs-1", Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 64, UUID: uuid}},
		{Op: driver.Create, Object: &driver.Bdev{Name: "theirs-2", Kind: driver.BdevNull, BlockSizeBytes: 512, Blocks: 64, UUID: "aaaaaaaa-0000-4000-8000-000000000002"}},
		{Op: driver.Create, Object: &driver.Subsystem{NQN: nqn, SerialNumber: "THEIRS"}},
		{Op: driver.Create, After: []int{2}, Object: &driver.Host{Subsystem: nqn, NQN: "nqn.2024-01.io.example:their-host"}},
		{Op: driver.Create, After: []int{0, 2}, Object: &driver.Namespace{
			Subsystem: nqn, NSID: 7, Bdev: "theirs-1", UUID: uuid, NGUID: "aaaaaaaa000040008000000000000001",
		}},
	}
}

// TestDrift deletes every object of the bridge behind its back, one at a time, with strangers beside
// them: the bridge must put each back, and leave theirs alone.
func TestDrift(t *testing.T) {
	t.Parallel() // it waits for audits most of the time
	r := newRig(t, newStorage(t))
	steps := strangers()
	must(t, errors.Join(r.eye.Apply(t.Context(), steps)...))
	r.foreign = map[driver.Key]driver.Object{}
	for _, s := range steps {
		r.foreign[s.Object.Key()] = s.Object
	}
	for _, b := range everything() {
		r.build(b)
		r.known = append(r.known, b.name)
	}
	must(t, r.settled())
	p, err := r.look(t.Context())
	must(t, err)
	for key, o := range p.have {
		if b, ok := o.(*driver.Bdev); r.foreign[key] != nil || ok && b.Nvme != nil {
			continue
		}
		switch err := r.eye.Apply(t.Context(), []driver.Step{{Op: driver.Delete, Object: o}})[0]; {
		case errors.Is(err, errdefs.FailedPrecondition):
			continue // the data plane itself keeps it
		case err != nil:
			t.Fatalf("delete %s behind the bridge's back: %v", key, err)
		}
		if err := errors.Join(r.settled(), r.standing()); err != nil {
			counted.violation(t, "%s deleted behind the bridge's back: %v", key, err)
		}
	}
}
