// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

const (
	someUUID = "11111111-1111-4111-8111-111111111111"
	someNQN  = "nqn.2026-01.org.example:sub"
)

// between starts a data plane with a proxy in front of it.
func between(t *testing.T) *proxy {
	t.Helper()
	return newProxy(t, testkit.DataPlane(t).Socket())
}

// connected runs a driver on the proxy and waits for its connection.
func connected(t *testing.T, p *proxy) *spdk.Driver {
	t.Helper()
	d := run(t, p.socket)
	testkit.Eventually(t, "connected", func() error { return d.Status().Err })
	return d
}

// do carries out one step.
func do(t *testing.T, d *spdk.Driver, op driver.Op, o driver.Object) error {
	t.Helper()
	return d.Apply(t.Context(), []driver.Step{{Op: op, Object: o}})[0]
}

func bdev(name string) *driver.Bdev {
	return &driver.Bdev{Name: name, Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 2048, UUID: someUUID}
}

// TestOldSPDK speaks to a data plane that says it is v24.01, and answers as that did.
func TestOldSPDK(t *testing.T) {
	t.Parallel()
	p := between(t)
	p.rule("spdk_get_version", func(c *jsonrpc.Call) {
		c.Reply(json.RawMessage(`{"version":"SPDK v24.01","fields":{"major":24,"minor":1,"patch":0,"suffix":""}}`))
	})
	p.rule("nvmf_get_subsystems", func(c *jsonrpc.Call) {
		if c.Params != nil {
			c.Fail(-19, "No such device")
			return
		}
		p.forward(c, nil)
	})
	d := connected(t, p)
	for _, set := range p.calls("bdev_nvme_set_options") {
		if strings.Contains(string(set.Params), "tcp_connect_timeout_ms") {
			t.Errorf("an option that v24.01 does not know: %s", set.Params)
		}
	}
	aio := &driver.Bdev{Name: "a", Kind: driver.BdevAio, BlockSizeBytes: 512, UUID: someUUID, Filename: "/nowhere"}
	if err := do(t, d, driver.Create, aio); !errors.Is(err, errdefs.Unimplemented) || !strings.Contains(err.Error(), "v24.01") {
		t.Errorf("aio: %v", err)
	}
	if err := do(t, d, driver.Create, &driver.Namespace{Subsystem: someNQN, NSID: 1, Bdev: "a"}); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("in no subsystem: %v", err)
	}
	if err := do(t, d, driver.Delete, &driver.Namespace{Subsystem: someNQN, NSID: 1}); err != nil {
		t.Errorf("delete in no subsystem: %v", err)
	}
	names := []driver.Key{driver.BdevKey("a"), driver.BdevKey("b")}
	if _, err := d.Stats(t.Context(), names); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("counters: %v", err)
	}
	for _, c := range p.calls("bdev_get_iostat") {
		if strings.Contains(string(c.Params), "names") {
			t.Errorf("a parameter that v24.01 does not know: %s", c.Params)
		}
	}
}

// TestNotInitialized waits for an SPDK that was started with --wait-for-rpc.
func TestNotInitialized(t *testing.T) {
	t.Parallel()
	p := between(t)
	p.rule("rpc_get_methods", func(c *jsonrpc.Call) { c.Reply([]string{"spdk_get_version", "framework_start_init"}) })
	d := run(t, p.socket)
	testkit.Eventually(t, "the driver says what to do", func() error {
		if s := d.Status(); s.Up || !strings.Contains(fmt.Sprint(s.Err), "framework_start_init") {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	if _, err := d.Observe(t.Context()); !errors.Is(err, errdefs.Unavailable) {
		t.Errorf("observe: %v", err)
	}
	p.rule("rpc_get_methods", nil)
	testkit.Eventually(t, "connected", func() error { return d.Status().Err })
}

// TestLackingMethods speaks to a build without NVMe-oF and without NVMe.
func TestLackingMethods(t *testing.T) {
	t.Parallel()
	p := between(t)
	p.rule("rpc_get_methods", func(c *jsonrpc.Call) {
		p.forward(c, func(result json.RawMessage) any {
			var all, some []string
			if err := json.Unmarshal(result, &all); err != nil {
				t.Error(err)
			}
			for _, m := range all {
				if slices.ContainsFunc([]string{"nvm", "crypto", "qos", "keyring", "vhost"}, func(s string) bool { return strings.Contains(m, s) }) {
					p.refuse(m, jsonrpc.CodeMethodNotFound, "Method not found")
				} else {
					some = append(some, m)
				}
			}
			return some
		})
	})
	d := connected(t, p)
	if err := do(t, d, driver.Create, bdev("m")); err != nil {
		t.Error(err)
	}
	o, err := d.Observe(t.Context())
	if err != nil || o.Objects[driver.BdevKey("m")] == nil {
		t.Errorf("observe: %v, %v", o, err)
	}
	address := driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "127.0.0.1", Trsvcid: "4420"}
	for _, object := range []driver.Object{
		&driver.Subsystem{NQN: someNQN}, &driver.Host{Subsystem: someNQN, NQN: someNQN},
		&driver.Listener{Subsystem: someNQN, Address: address}, &driver.Namespace{Subsystem: someNQN, NSID: 1, Bdev: "m"},
		&driver.Path{Controller: "c", Address: address, SubsystemNQN: someNQN},
		&driver.CryptoKey{Name: "k"}, &driver.Bdev{Name: "c", Kind: driver.BdevCrypto, Base: "m", CryptoKey: "k"},
		&driver.TLSKey{Name: "k"}, &driver.VirtioBlk{Name: "v", Bdev: "m"}, &driver.VirtioScsi{Name: "v"},
		&driver.VirtioScsiTarget{Controller: "v", Bdev: "m"},
	} {
		for _, op := range []driver.Op{driver.Create, driver.Delete} {
			if err := do(t, d, op, object); !errors.Is(err, errdefs.Unimplemented) {
				t.Errorf("%s %s: %v", op, object.Key(), err)
			}
		}
	}
	if err := do(t, d, driver.Create, &driver.Limits{Bdev: "m", IOPS: 1000}); !errors.Is(err, errdefs.Unimplemented) || !strings.Contains(err.Error(), "bdev_set_qos_limit") {
		t.Errorf("limits: %v", err)
	}
	c, err := d.Capabilities(t.Context())
	if err != nil || c.TLS || !strings.Contains(c.TLSReason, "keyring_file_add_key") || len(c.Frontends)+len(c.Ciphers)+len(c.Limits) > 0 ||
		!slices.Equal(c.Bdevs, []driver.BdevKind{driver.BdevNull, driver.BdevMalloc, driver.BdevAio}) {
		t.Errorf("capabilities: %+v, %v", c, err)
	}
	for _, transport := range c.Transports {
		if transport.Listen != driver.ReadinessMissing || transport.Attach != driver.ReadinessMissing || transport.Reason == "" {
			t.Errorf("capabilities: %+v", transport)
		}
	}
	if _, err := d.ConnectedHosts(t.Context(), someNQN); !errors.Is(err, errdefs.Unimplemented) {
		t.Errorf("hosts: %v", err)
	}
	if err := d.ResetController(t.Context(), "c"); !errors.Is(err, errdefs.Unimplemented) {
		t.Errorf("reset: %v", err)
	}
}

// TestOptionsRefused connects although options are refused, for good reasons and others.
func TestOptionsRefused(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := run(t, p.socket)
	for i, e := range []jsonrpc.Error{
		{Code: -1, Message: "RPC not permitted with nvme controllers already attached"},
		{Code: -32603, Message: "spdk_json_decode_object failed"},
	} {
		p.refuse("bdev_nvme_set_options", e.Code, e.Message)
		p.restart()
		testkit.Eventually(t, "connected", func() error {
			if s := d.Status(); !s.Up || s.Epoch < uint64(i)+1 {
				return fmt.Errorf("status %+v", s)
			}
			return nil
		})
		if len(p.calls("bdev_nvme_set_options")) == 0 {
			t.Error("options were not set")
		}
	}
}

// TestRestartBehindConnection: somebody in between keeps the connection while the data plane is
// replaced by an empty one.
func TestRestartBehindConnection(t *testing.T) {
	t.Parallel()
	p := newProxy(t, testkit.DataPlane(t).Socket())
	d := connected(t, p)
	if err := do(t, d, driver.Create, bdev("m")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the notification is read", func() error {
		for e := range d.Events() {
			if e.Kind == driver.EventChanged {
				return nil
			}
		}
		return nil
	})
	before := d.Status().Epoch
	p.connect(testkit.DataPlane(t).Socket())
	testkit.Eventually(t, "the restart is noticed", func() error {
		if s := d.Status(); !s.Up || s.Epoch == before {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	if o, err := d.Observe(t.Context()); err != nil || len(o.Objects) != 0 {
		t.Errorf("observe: %v, %v", o, err)
	}
}

// TestAnswerLost: the connection breaks after a call was written.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := connected(t, p)
	came := make(chan struct{})
	p.rule("bdev_malloc_create", func(*jsonrpc.Call) { close(came) })
	outcome := make(chan error, 1)
	go func() {
		outcome <- d.Apply(context.Background(), []driver.Step{{Op: driver.Create, Object: bdev("m")}})[0]
	}()
	<-came
	p.restart()
	if err := <-outcome; !errors.Is(err, errdefs.OutcomeUnknown) {
		t.Errorf("got %v", err)
	}
}

// TestFrozen: a data plane that has stopped answering is away, until it answers again.
func TestFrozen(t *testing.T) {
	t.Parallel()
	plane := testkit.DataPlane(t)
	d := start(t, spdk.Config{
		Network: "unix", Address: plane.Socket(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), AnswerTimeout: time.Second,
	})
	testkit.Eventually(t, "connected", func() error { return d.Status().Err })
	plane.Pause()
	testkit.Eventually(t, "it is noticed", func() error {
		if s := d.Status(); s.Up || !strings.Contains(fmt.Sprint(s.Err), "answer") {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	if err := do(t, d, driver.Create, bdev("m")); !errors.Is(err, errdefs.Unavailable) {
		t.Errorf("while it is frozen: %v", err)
	}
	plane.Resume()
	testkit.Eventually(t, "connected again", func() error { return d.Status().Err })
}

// TestSubsystemLimit makes a few more subsystems than SPDK has room for: only a few, for after each
// refusal all subsystems are looked at.
func TestSubsystemLimit(t *testing.T) {
	t.Parallel()
	d := connected(t, between(t))
	steps := make([]driver.Step, 1030)
	for i := range steps {
		steps[i] = driver.Step{Op: driver.Create, Object: &driver.Subsystem{NQN: fmt.Sprintf("%s%d", someNQN, i)}}
	}
	made := 0
	for i, err := range d.Apply(t.Context(), steps) {
		switch {
		case err == nil:
			made++
		case !errors.Is(err, errdefs.ResourceExhausted):
			t.Errorf("subsystem %d: %v", i, err)
		}
	}
	if made < 1000 || made > 1024 {
		t.Errorf("%d subsystems were made", made)
	}
}
