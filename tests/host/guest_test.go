// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/host/guest"
	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

// options are those with which a host connects that waits for its disks however long they are away.
func options(port int, nqn, hostnqn string) string {
	return fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=%s,hostnqn=%s,ctrl_loss_tmo=-1,reconnect_delay=1",
		machine.HostAddress, port, nqn, hostnqn)
}

// find waits for a disk that matches.
func find(t *testing.T, m *machine.Machine, what string, match func(guest.Disk) bool) guest.Disk {
	t.Helper()
	var found guest.Disk
	testkit.Eventually(t, "the guest sees "+what, func() error {
		disks := m.Disks()
		i := slices.IndexFunc(disks, match)
		if i < 0 {
			return fmt.Errorf("it sees %+v", disks)
		}
		found = disks[i]
		return nil
	})
	return found
}

// byUUID matches an NVMe disk.
func byUUID(uuid string) func(guest.Disk) bool {
	return func(d guest.Disk) bool { return d.UUID == uuid }
}

// gone waits until no disk matches.
func gone(t *testing.T, m *machine.Machine, what string, match func(guest.Disk) bool) {
	t.Helper()
	testkit.Eventually(t, "the guest no longer sees "+what, func() error {
		if disks := m.Disks(); slices.ContainsFunc(disks, match) {
			return fmt.Errorf("it sees %+v", disks)
		}
		return nil
	})
}

// hex returns an identifier in the kernel's spelling without what groups its digits.
func hex(id string) string {
	return strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(id))
}

// clean wants no request to have failed and no byte to be wrong.
func clean(t *testing.T, what string, r guest.Report) {
	t.Helper()
	if r.Errors > 0 || r.Mismatched > 0 {
		t.Errorf("%s: %d requests failed (%s), %d blocks were wrong %q", what, r.Errors, r.FirstError, r.Mismatched, r.Mismatches)
	}
	if r.Reads == 0 || r.Writes == 0 {
		t.Errorf("%s: %d reads and %d writes: it was not tried", what, r.Reads, r.Writes)
	}
}

// lastLook ends a load. It waits for requests first: since the last mark there may not have been a
// write yet, which clean would take for a load that was not there.
func lastLook(t *testing.T, m *machine.Machine, device string) {
	t.Helper()
	moves(t, m, device, "before the last look")
	clean(t, "the last look", m.StopLoad(device))
}

// moves waits until a load has done a good number of further requests.
func moves(t *testing.T, m *machine.Machine, device, when string) {
	t.Helper()
	const some = 200
	before := m.Progress(device)
	testkit.Eventually(t, "I/O goes on "+when, func() error {
		if now := m.Progress(device); now < before+some {
			return fmt.Errorf("%d requests since", now-before)
		}
		return nil
	})
}

// milliseconds rounds for people.
func milliseconds(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
