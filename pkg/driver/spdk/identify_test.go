// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

const sendCmd = "bdev_nvme_send_cmd"

// TestIdentifiers asks a target for what its namespaces are known by: once for each, and again after
// a new connection only. The data plane is its own storage node.
func TestIdentifiers(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := connected(t, p)
	const nguid, eui64, nsUUID = "0123456789abcdef0123456789abcdef", "00000000000000ff", "00000000-0000-4000-8000-00000000000a"
	address := driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(testkit.FreePort(t))}
	path := &driver.Path{Controller: "c", Address: address, SubsystemNQN: someNQN, Multipath: driver.MultipathMultipath}
	for _, o := range []driver.Object{
		bdev("m"), &driver.Subsystem{NQN: someNQN, AllowAnyHost: true}, &driver.Listener{Subsystem: someNQN, Address: address},
		&driver.Namespace{Subsystem: someNQN, NSID: 1, Bdev: "m", UUID: nsUUID, NGUID: nguid, EUI64: eui64}, path,
	} {
		if err := do(t, d, driver.Create, o); err != nil {
			t.Fatal(err)
		}
	}
	want := driver.NvmeOrigin{Controller: "c", NSID: 1, UUID: nsUUID, NGUID: nguid, EUI64: eui64}
	origin := func(d *spdk.Driver) driver.NvmeOrigin {
		o, err := d.Observe(t.Context())
		if err != nil {
			t.Error(err)
			return driver.NvmeOrigin{}
		}
		if b, ok := o.Objects[driver.BdevKey("cn1")].(*driver.Bdev); ok && b.Nvme != nil {
			return *b.Nvme
		}
		return driver.NvmeOrigin{}
	}
	told := func(d *spdk.Driver) {
		t.Helper()
		testkit.Eventually(t, "the identifiers are told", func() error {
			if got := origin(d); got != want {
				return fmt.Errorf("got %+v", got)
			}
			return nil
		})
	}
	asked := func(times int, when string) {
		t.Helper()
		for range 5 {
			origin(d)
		}
		if n := len(p.calls(sendCmd)); n != times {
			t.Errorf("%s: the target was asked %d times, want %d", when, n, times)
		}
	}
	told(d)
	asked(1, "after many observations")
	if err := d.ResetController(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "asked over the new connection", func() error {
		if origin(d); len(p.calls(sendCmd)) < 2 {
			return errors.New("not yet")
		}
		return nil
	})
	asked(2, "after a new connection")
	told(d)

	// A target that does not answer holds nobody up, and is told of when it does.
	held := make(chan *jsonrpc.Call, 1)
	p.rule(sendCmd, func(c *jsonrpc.Call) { held <- c })
	slow := connected(t, p)
	if got := origin(slow); got != (driver.NvmeOrigin{Controller: "c", NSID: 1}) {
		t.Errorf("before the answer: %+v", got)
	}
	p.rule(sendCmd, nil)
	p.forward(<-held, nil)
	told(slow)

	// One that answers nonsense, or not at all, is not asked for ever.
	for what, answer := range map[string]string{
		"no entry": `{"cpl":"AAAA","data":""}`, "no data": `{"cpl":"AAAAAAAAAAAAAAAAAAAAAA=="}`, "a status": `{"cpl":"AAAAAAAAAAAAAAAAAAAEAA==","data":""}`,
	} {
		before := len(p.calls(sendCmd))
		p.rule(sendCmd, func(c *jsonrpc.Call) { c.Reply(json.RawMessage(answer)) })
		odd := connected(t, p)
		for range 9 {
			if got := origin(odd); got.NGUID != "" {
				t.Errorf("%s: %+v", what, got)
			}
		}
		if n := len(p.calls(sendCmd)) - before; n != 6 { // two commands, three times
			t.Errorf("%s: asked %d times", what, n)
		}
	}
}
