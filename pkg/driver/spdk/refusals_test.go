// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

var tcp = driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "127.0.0.1", Trsvcid: "4420"} //nolint:gochecknoglobals // a constant

// TestRefusals puts SPDK's answers, which are hard to come by otherwise, before a real data plane.
func TestRefusals(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := start(t, spdk.Config{Network: "unix", Address: p.socket, VfioUserDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	testkit.Eventually(t, "connected", func() error { return d.Status().Err })
	path := &driver.Path{Controller: "c", Address: tcp, SubsystemNQN: someNQN, Multipath: driver.MultipathFailover}
	secure := *path
	secure.TLSKey = "key0"
	rdma := &driver.Listener{Subsystem: someNQN, Address: tcp}
	rdma.Address.Transport = driver.TransportRDMA
	overRDMA := *path
	overRDMA.Address.Transport = driver.TransportRDMA
	pcie := &driver.Listener{Subsystem: someNQN, Address: driver.Address{Transport: driver.TransportPCIe, Traddr: "0.1.0"}}
	for _, c := range []struct {
		method, message string
		code            int
		op              driver.Op
		object          driver.Object
		class           errdefs.Class
		words           string
	}{
		{"bdev_malloc_create", "Cannot allocate memory", -12, driver.Create, bdev("m"), errdefs.ResourceExhausted, "m"},
		{"bdev_malloc_create", "Invalid argument", -22, driver.Create, bdev("m"), errdefs.InvalidArgument, "512"},
		{"bdev_malloc_create", "spdk_json_decode_object failed", -32603, driver.Create, bdev("m"), errdefs.Internal, "m"},
		{"nvmf_create_subsystem", "Unable to create subsystem", -32603, driver.Create, &driver.Subsystem{NQN: someNQN}, errdefs.ResourceExhausted, "1024"},
		{"bdev_nvme_attach_controller", "Input/output error", -5, driver.Create, path, errdefs.Unavailable, "127.0.0.1:4420"},
		{"bdev_nvme_attach_controller", "Connection timed out", -110, driver.Create, path, errdefs.Unavailable, someNQN},
		{"bdev_nvme_attach_controller", "No such device", -19, driver.Create, path, errdefs.FailedPrecondition, "TCP"},
		{"bdev_nvme_attach_controller", "Invalid argument", -22, driver.Create, path, errdefs.InvalidArgument, "c"},
		{"bdev_nvme_attach_controller", "Numerical result out of range", -34, driver.Create, path, "", ""},
		{"bdev_nvme_detach_controller", "Connection timed out", -110, driver.Delete, path, errdefs.Unavailable, "c"},
		{"bdev_nvme_detach_controller", "No such device or address", -6, driver.Delete, path, "", ""},
		{"nvmf_create_transport", "Failed to create transport.", -32603, driver.Create, rdma, errdefs.FailedPrecondition, "no RDMA device"},
		{"bdev_nvme_attach_controller", "Input/output error", -5, driver.Create, &overRDMA, errdefs.Unavailable, "device with RDMA"},
		{"bdev_nvme_attach_controller", "No such device", -19, driver.Create, &overRDMA, errdefs.FailedPrecondition, "no device for RDMA"},
		{"bdev_nvme_attach_controller", "no TLS here", -95, driver.Create, &secure, errdefs.Unimplemented, "no TLS with pre-shared keys"},
		{"bdev_nvme_attach_controller", "Required key not available", -126, driver.Create, &secure, errdefs.FailedPrecondition, "key0"},
		{"bdev_nvme_attach_controller", "No such device", -19, driver.Create, &secure, errdefs.FailedPrecondition, "interchange format"},
		{"bdev_nvme_attach_controller", "Input/output error", -5, driver.Create, &secure, errdefs.Unavailable, "same TLS key"},
		{"nvmf_create_transport", "Invalid transport type 'VFIOUSER'", -32602, driver.Create, pcie, errdefs.Unimplemented, "VFIOUSER"},
		{"nvmf_create_transport", "Invalid transport type 'RDMA'", -32602, driver.Create, rdma, errdefs.Unimplemented, "RDMA"},
	} {
		p.refuse(c.method, c.code, c.message)
		err := do(t, d, c.op, c.object)
		if errdefs.ClassOf(err) != c.class || !strings.Contains(fmt.Sprint(err), c.words) {
			t.Errorf("%s %d: %v", c.method, c.code, err)
		}
		if reason, meta := errdefs.Info(err); err != nil && (reason == "" || meta["spdk_method"] != c.method || meta["spdk_code"] != fmt.Sprint(c.code) || meta["spdk_message"] != c.message) {
			t.Errorf("%s %d: %s %v", c.method, c.code, reason, meta)
		}
		p.rule(c.method, nil)
	}
}

// TestDeleteUnderWay: an earlier delete of a subsystem, whose answer was lost, is still at work.
func TestDeleteUnderWay(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := connected(t, p)
	sub := &driver.Subsystem{NQN: someNQN}
	if err := do(t, d, driver.Create, sub); err != nil {
		t.Fatal(err)
	}
	p.refuse("nvmf_delete_subsystem", -32603, "Subsystem is already being destroyed.")
	looks := 0
	p.rule("nvmf_get_subsystems", func(c *jsonrpc.Call) {
		if looks++; looks == 3 {
			p.rule("nvmf_get_subsystems", nil)
			c.Fail(-32602, "Subsystem with NQN '"+someNQN+"' not found")
			return
		}
		p.forward(c, nil)
	})
	if err := do(t, d, driver.Delete, sub); err != nil || looks != 3 {
		t.Errorf("%v after %d looks", err, looks)
	}
	// One that stays is reported, and can be tried again.
	if err := do(t, d, driver.Delete, sub); !errors.Is(err, errdefs.Aborted) {
		t.Errorf("got %v", err)
	}
}

// TestOneTransport: however many listeners come first, the transport is made once.
func TestOneTransport(t *testing.T) {
	t.Parallel()
	plane := testkit.DataPlane(t)
	p := newProxy(t, plane.Socket())
	d := connected(t, p)
	steps := []driver.Step{{Op: driver.Create, Object: &driver.Subsystem{NQN: someNQN}}}
	for i := range 16 { // SPDK takes no more
		a := tcp
		a.Traddr, a.Trsvcid = fmt.Sprintf("127.0.0.%d", i+1), fmt.Sprint(testkit.FreePort(t))
		steps = append(steps, driver.Step{Op: driver.Create, Object: &driver.Listener{Subsystem: someNQN, Address: a}, After: []int{0}})
	}
	if err := errors.Join(d.Apply(t.Context(), steps)...); err != nil {
		t.Fatal(err)
	}
	if n := len(p.calls("nvmf_create_transport")); n != 1 {
		t.Errorf("created %d times", n)
	}
	// After a restart it is made again.
	before := d.Status().Epoch
	plane.Kill()
	plane.Start()
	p.connect(plane.Socket())
	p.restart()
	testkit.Eventually(t, "connected", func() error {
		if s := d.Status(); !s.Up || s.Epoch == before {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	if err := errors.Join(d.Apply(t.Context(), steps[:2])...); err != nil {
		t.Fatal(err)
	}
	if n := len(p.calls("nvmf_create_transport")); n != 2 {
		t.Errorf("created %d times, over two connections", n)
	}
}

// TestTransportMadeMeanwhile: somebody else makes it between the look and the call.
func TestTransportMadeMeanwhile(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := connected(t, p)
	p.rule("nvmf_get_transports", func(c *jsonrpc.Call) { c.Reply([]string{}) })
	p.rule("nvmf_create_transport", func(c *jsonrpc.Call) {
		p.rule("nvmf_create_transport", nil)
		p.forward(c, func(json.RawMessage) any { return true })
	})
	sub := &driver.Subsystem{NQN: someNQN}
	if err := do(t, d, driver.Create, sub); err != nil {
		t.Fatal(err)
	}
	other := connected(t, p)
	for i, one := range []interface {
		Apply(ctx context.Context, steps []driver.Step) []error
	}{d, other} {
		a := tcp
		a.Trsvcid = fmt.Sprint(testkit.FreePort(t))
		if err := one.Apply(t.Context(), []driver.Step{{Op: driver.Create, Object: &driver.Listener{Subsystem: someNQN, Address: a}}})[0]; err != nil {
			t.Errorf("listener %d: %v", i, err)
		}
	}
}

// TestAttachOneByOne: an attach whose caller has given up holds up the next one for the same
// connection until SPDK has answered, because SPDK would carry out both.
func TestAttachOneByOne(t *testing.T) {
	t.Parallel()
	p := between(t)
	d := connected(t, p)
	held := make(chan *jsonrpc.Call, 10)
	p.rule("bdev_nvme_attach_controller", func(c *jsonrpc.Call) { held <- c })
	path := &driver.Path{Controller: "c", Address: tcp, SubsystemNQN: someNQN}
	step := driver.Step{Op: driver.Create, Object: path}

	ctx, cancel := context.WithCancel(t.Context())
	outcome := make(chan error, 1)
	go func() { outcome <- d.Apply(ctx, []driver.Step{step})[0] }()
	first := <-held
	cancel()
	if err := <-outcome; !errors.Is(err, errdefs.OutcomeUnknown) {
		t.Errorf("given up: %v", err)
	}
	late, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	if err := d.Apply(late, []driver.Step{step})[0]; !errors.Is(err, errdefs.DeadlineExceeded) {
		t.Errorf("behind it, in a hurry: %v", err)
	}
	go func() { outcome <- d.Apply(t.Context(), []driver.Step{step})[0] }()
	// Another connection of the same controller goes at once.
	other := *path
	other.Address.Trsvcid = "4421"
	beside := make(chan error, 1)
	go func() { beside <- d.Apply(t.Context(), []driver.Step{{Op: driver.Create, Object: &other}})[0] }()
	second := <-held
	if !strings.Contains(string(second.Params), `"4421"`) {
		t.Errorf("the second attach of the same connection did not wait: %s", second.Params)
	}
	second.Reply([]string{})
	if err := <-beside; err != nil {
		t.Errorf("beside it: %v", err)
	}
	first.Reply([]string{})
	third := <-held
	third.Fail(-114, "A controller named c already exists with the specified network path")
	if err := <-outcome; err == nil {
		t.Error("the data plane says that it is there, and it is not: this must be an error")
	}
}
