// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"errors"
	"fmt"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// How resources stand follows the data plane, and pages are in order.
func TestConditions(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, id := range []string{"disk-b", "disk-a", "disk-c"} {
		if _, err := r.create("nullVolumes", "", id, &pb.NullVolume{BlockSize: 512, BlocksCount: 2048}); err != nil {
			t.Fatal(err)
		}
	}
	page := func(after resource.Name, limit int, notReady bool) string {
		conditions, more, err := r.eng.Conditions(after, limit, notReady)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range conditions {
			names = append(names, c.Name.ID())
		}
		return fmt.Sprint(names, more)
	}
	for _, row := range []struct{ got, want string }{
		{page("", 2, false), "[disk-a disk-b] true"},
		{page("nullVolumes/disk-b", 2, false), "[disk-c] false"},
		{page("nullVolumes/disk-bb", 2, false), "[disk-c] false"},
		{page("", 2, true), "[] false"},
	} {
		if row.got != row.want {
			t.Errorf("page is %s, want %s", row.got, row.want)
		}
	}
	c, err := r.eng.Condition("nullVolumes/disk-a")
	if err != nil || c.Err != nil || c.State != resource.StateReady || c.Created.IsZero() || c.Updated.IsZero() {
		t.Errorf("condition is %+v, %v", c, err)
	}
	if _, err := r.eng.Condition("nullVolumes/disk-x"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("condition of nothing: %v", err)
	}

	r.dataPlane.Kill()
	testkit.Eventually(t, "nothing is ready", func() error {
		if got := page("", 2, true); got != "[disk-a disk-b] true" {
			return fmt.Errorf("not ready are %s", got)
		}
		return nil
	})
	if c, err = r.eng.Condition("nullVolumes/disk-a"); err != nil || !errors.Is(c.Err, errdefs.Unavailable) {
		t.Errorf("condition without a data plane is %+v, %v", c, err)
	}
}
