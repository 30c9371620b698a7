// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"errors"
	"fmt"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// Counters are shown up to the limit, the first by name, and what is not there is not asked for.
func TestCountersKeepTheirLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for i := range 3 {
		if _, err := r.create("nullVolumes", "", fmt.Sprintf("disk-%d", i), &pb.NullVolume{BlockSize: 512, BlocksCount: 2048}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.create("qosVolumes", "", "limited", &pb.QosVolume{
		VolumeNameRef: "nullVolumes/disk-0", Limits: &pb.Limits{Max: &pb.QosLimit{RwIopsKiops: 10}},
	}); err != nil {
		t.Fatal(err)
	}
	counters := func(limits engine.CounterLimits) string {
		c, err := r.eng.Counters(t.Context(), limits)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, v := range c.Volumes {
			names = append(names, v.Name.ID())
		}
		return fmt.Sprint(names, c.LeftOut, len(c.Paths), c.PathsCounted)
	}
	for _, row := range []struct {
		limits engine.CounterLimits
		want   string
	}{
		{engine.CounterLimits{Volumes: 10, Paths: 10}, "[disk-0 disk-1 disk-2] 0 0 true"},
		{engine.CounterLimits{Volumes: 2}, "[disk-0 disk-1] 1 0 true"},
		{engine.CounterLimits{}, "[] 3 0 true"},
	} {
		if got := counters(row.limits); got != row.want {
			t.Errorf("%+v: %s, want %s", row.limits, got, row.want)
		}
	}
	r.dataPlane.Kill()
	testkit.Eventually(t, "no counters without a data plane", func() error {
		if _, err := r.eng.Counters(t.Context(), engine.CounterLimits{Volumes: 1}); !errors.Is(err, errdefs.Unavailable) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
}
