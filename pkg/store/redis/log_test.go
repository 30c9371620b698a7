// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestDriverLog: the driver's texts become a constant message with the error as a key.
func TestDriverLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	driverLog{log}.Printf(t.Context(), "pool: failed to dial after %d attempts: %v", 1, errAnswer)
	if got := out.String(); !strings.Contains(got, `level=DEBUG msg="redis driver reports" err=refused`) {
		t.Errorf("logged %s", got)
	}
}
