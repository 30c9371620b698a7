// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestVhostNotAnswered: a VM connects between the look and the delete, which SPDK then does not answer
// until the VM has gone.
func TestVhostNotAnswered(t *testing.T) {
	t.Parallel()
	dir := testkit.SocketDir(t)
	plane := testkit.DataPlane(t, "--vhost-dir", dir)
	p := newProxy(t, plane.Socket())
	d := connected(t, p)
	dev, scsi := &driver.VirtioBlk{Name: "blk", Bdev: "m"}, &driver.VirtioScsi{Name: "scsi"}
	target := &driver.VirtioScsiTarget{Controller: "scsi", Slot: 1, Bdev: "m"}
	for _, o := range []driver.Object{bdev("m"), dev, scsi, target} {
		if err := do(t, d, driver.Create, o); err != nil {
			t.Fatal(err)
		}
	}
	unplug := plug(t, plane, dir+"/blk")
	looks := 0
	p.rule("vhost_get_controllers", func(c *jsonrpc.Call) {
		if looks++; looks > 1 {
			p.forward(c, nil)
			return
		}
		p.forward(c, func(result json.RawMessage) any {
			var all []map[string]any
			if err := json.Unmarshal(result, &all); err != nil {
				t.Error(err)
			}
			for _, v := range all {
				v["sessions"] = []any{}
			}
			return all
		})
	})
	err := do(t, d, driver.Delete, dev)
	if !errors.Is(err, errdefs.OutcomeUnknown) || !strings.Contains(err.Error(), "unplug") {
		t.Errorf("got %v", err)
	}
	unplug()
	testkit.Eventually(t, "it goes with the VM", func() error {
		if observed(t, d, dev) {
			return errors.New("it is there")
		}
		return nil
	})
	if err := do(t, d, driver.Delete, dev); err != nil {
		t.Error(err)
	}
	// A slot whose VM holds on to it.
	p.rule("vhost_scsi_controller_remove_target", func(*jsonrpc.Call) {})
	if err := do(t, d, driver.Delete, target); !errors.Is(err, errdefs.OutcomeUnknown) || !strings.Contains(err.Error(), "unplug") {
		t.Errorf("got %v", err)
	}
	p.refuse("vhost_scsi_controller_remove_target", -32602, "Device or resource busy")
	if err := do(t, d, driver.Delete, target); !errors.Is(err, errdefs.FailedPrecondition) {
		t.Errorf("got %v", err)
	}
}
