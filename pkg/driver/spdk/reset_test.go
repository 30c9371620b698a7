// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestResetIsNotWaitedForWithoutEnd: nobody hangs on a reset that is never answered.
func TestResetIsNotWaitedForWithoutEnd(t *testing.T) {
	t.Parallel()
	plane := testkit.DataPlane(t)
	d := start(t, spdk.Config{
		Network: "unix", Address: plane.Socket(), Log: slog.New(slog.DiscardHandler), ResetTimeout: 50 * time.Millisecond,
	})
	testkit.Eventually(t, "the driver is connected", func() error {
		if s := d.Status(); !s.Up {
			return errors.Join(errors.New("not up"), s.Err)
		}
		return nil
	})
	plane.Pause()
	defer plane.Resume()
	if err := d.ResetController(t.Context(), "c"); !errors.Is(err, errdefs.OutcomeUnknown) || !strings.Contains(err.Error(), "no answer for 50ms") {
		t.Errorf("reset: %v", err)
	}
}
