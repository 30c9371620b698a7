// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// testBatches runs dependent steps, some of which fail.
func testBatches(t *testing.T, s Suite) {
	b := s.bench(t)
	if errs := b.apply(); len(errs) != 0 {
		t.Errorf("nothing to do: %v", errs)
	}
	sub, m, lost := subsystem("s"), malloc("m"), malloc("lost")
	odd := malloc("odd")
	odd.BlockSizeBytes = 100
	ns, oddNs := namespace(sub, 1, m), namespace(sub, 2, odd)
	errs := b.apply(
		driver.Step{Op: driver.Create, Object: sub},
		driver.Step{Op: driver.Create, Object: m},
		driver.Step{Op: driver.Create, Object: odd},
		driver.Step{Op: driver.Create, Object: ns, After: []int{0, 1}},
		driver.Step{Op: driver.Create, Object: oddNs, After: []int{0, 2}},
		driver.Step{Op: driver.Delete, Object: oddNs, After: []int{4}},
		driver.Step{Op: driver.Create, Object: lost, After: []int{7}},
		driver.Step{Op: driver.Create, Object: lost, After: []int{-1}},
		driver.Step{Op: driver.Op(99), Object: lost},
	)
	for i, want := range []error{
		nil, nil, errdefs.InvalidArgument, nil, driver.ErrSkipped, driver.ErrSkipped, errdefs.Internal, errdefs.Internal, errdefs.Internal,
	} {
		if !errors.Is(errs[i], want) {
			t.Errorf("step %d: %v, want %v", i, errs[i], want)
		}
	}
	b.serves(sub, m, ns)
	b.lacks(odd, oddNs, lost)

	// Delete and make again, in one batch: the answer to the first is waited for.
	again := malloc("m")
	errs = b.apply(
		driver.Step{Op: driver.Delete, Object: ns},
		driver.Step{Op: driver.Delete, Object: m, After: []int{0}},
		driver.Step{Op: driver.Create, Object: again, After: []int{1}},
		driver.Step{Op: driver.Create, Object: ns, After: []int{2}},
	)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	b.serves(again, ns)
}

// testManyDisks makes and takes away more disks than calls are in flight.
func testManyDisks(t *testing.T, s Suite) {
	const disks = 300
	b := s.bench(t)
	var create, remove []driver.Step
	var all []driver.Object
	at := loopback(b.port()) // one socket for all of them
	for i := range disks {
		sub, n := subsystem(fmt.Sprintf("s%d", i)), null(fmt.Sprintf("n%d", i))
		l := &driver.Listener{Subsystem: sub.NQN, Address: at}
		ns := namespace(sub, 1, n)
		first := len(create)
		create = append(create,
			driver.Step{Op: driver.Create, Object: n},
			driver.Step{Op: driver.Create, Object: sub},
			driver.Step{Op: driver.Create, Object: l, After: []int{first + 1}},
			driver.Step{Op: driver.Create, Object: ns, After: []int{first, first + 1}})
		remove = append(remove,
			driver.Step{Op: driver.Delete, Object: ns},
			driver.Step{Op: driver.Delete, Object: l},
			driver.Step{Op: driver.Delete, Object: sub, After: []int{first, first + 1}},
			driver.Step{Op: driver.Delete, Object: n, After: []int{first}})
		all = append(all, n, sub, l, ns)
	}
	for _, batch := range [][]driver.Step{create, remove, create} {
		if err := errors.Join(b.apply(batch...)...); err != nil {
			t.Fatal(err)
		}
	}
	b.serves(all...)
}
