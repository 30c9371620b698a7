// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
)

// wants runs a command and checks its exit status and what it prints.
func wants(t *testing.T, status int, says []string, args ...string) {
	t.Helper()
	var printed bytes.Buffer
	if got := run(t.Context(), args, strings.NewReader(""), &printed, &printed); got != status {
		t.Errorf("%v: exit %d, want %d", args, got, status)
	}
	for _, want := range says {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("%v does not say %q:\n%s", args, want, printed.String())
		}
	}
}

// What opi-bridge tells beyond OPI's API; of other servers there are the API's counters.
func TestOwnServiceAndWithoutIt(t *testing.T) {
	t.Parallel()
	ours, web := bridge(t, true)
	other, _ := bridge(t, false)
	for _, server := range []string{ours, other} {
		wants(t, exitOK, nil, "--server", server, "create", "mallocVolumes/vol-1", "block_size=512", "blocks_count=2048")
	}
	wants(t, exitOK, []string{"READ_BYTES", "READ_LATENCY_US"}, "--server", ours, "stats", "mallocVolumes/vol-1")
	wants(t, exitOK, []string{"tick_rate_hz", "sample_time"}, "--server", ours, "stats", "mallocVolumes/vol-1", "-o", "json")
	wants(t, exitOK, []string{"READ_BYTES", "READ_LATENCY_TICKS"}, "--server", other, "stats", "mallocVolumes/vol-1")
	wants(t, exitOK, []string{"transport TCP", "to hosts: ready", "frontends", "nvme", "TLS with pre-shared keys"}, "--server", ours, "capabilities")
	wants(t, exitOK, []string{`"volume_kinds"`}, "--server", ours, "capabilities", "-o", "json")
	wants(t, exitFailed, []string{"BridgeService"}, "--server", other, "capabilities")
	wants(t, exitOK, []string{"mallocVolumes/vol-1", "READY", "ready"}, "--server", ours, "status", "mallocVolumes/vol-1")
	wants(t, exitOK, []string{`"ready": true`}, "--server", ours, "status", "mallocVolumes/vol-1", "-o", "json")
	wants(t, exitMissing, []string{"does not exist"}, "--server", ours, "status", "mallocVolumes/vol-9")
	wants(t, exitUsage, []string{"is a collection"}, "--server", ours, "status", "mallocVolumes")
	wants(t, exitOK, []string{"data plane"}, "--server", ours, "--http", web, "status")
}
