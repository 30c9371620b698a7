// SPDX-License-Identifier: Apache-2.0

package spdkrpc_test

import (
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

func TestFirmware(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		major, minor, patch int
		want                string
	}{{26, 9, 0, "26.09"}, {24, 1, 1, "24.01.1"}, {25, 5, 0, "25.05"}, {0, 0, 0, ""}} {
		var v spdkrpc.Version
		v.Fields.Major, v.Fields.Minor, v.Fields.Patch = row.major, row.minor, row.patch
		if got := v.Firmware(); got != row.want {
			t.Errorf("%d.%d.%d shows %q to hosts, want %q", row.major, row.minor, row.patch, got, row.want)
		}
	}
}
