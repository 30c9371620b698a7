// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// TestShutEntranceIsTriedInTime: what waits for disks that may come is tried when the wait is over, however
// many tries there have been.
func TestShutEntranceIsTriedInTime(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	for what, row := range map[string]struct {
		problem error
		restart time.Time // of the data plane
		want    time.Time
	}{
		"the end of the wait is near": {errWaiting, now.Add(-19 * time.Second), now.Add(time.Second + time.Millisecond)},
		"it is over":                  {errWaiting, now.Add(-21 * time.Second), now.Add(lastRetry)},
		"it is farther than the try":  {errWaiting, now.Add(-time.Second), now.Add(lastRetry)},
		"another problem":             {errors.New("another"), now.Add(-19 * time.Second), now.Add(lastRetry)},
	} {
		e := &Engine{
			cfg:        Config{Now: func() time.Time { return now }, EntranceWait: entranceWait},
			index:      newIndex(nil),
			epochSince: row.restart, replan: make(chan struct{}, 1),
		}
		en := &entry{rec: &resource.Record{Name: "nvmeSubsystems/a/nvmeControllers/b"}, attempts: 20}
		e.postpone(en, fmt.Errorf("shut: %w", row.problem))
		if !en.retryAt.Equal(row.want) {
			t.Errorf("%s: tried after %v, want %v", what, en.retryAt.Sub(now), row.want.Sub(now))
		}
	}
}
