// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

const subnqn = "nqn.2019-06.io.storage:vol1"

// storage is a target with one subsystem.
type storage struct {
	t        testing.TB
	registry *bdev.Registry
	target   *target.Target
}

// newStorage starts a target without listeners and namespaces, that ends with the test.
func newStorage(t testing.TB) *storage {
	t.Helper()
	s := &storage{t: t, registry: bdev.NewRegistry()}
	t.Cleanup(func() {
		_ = s.target.Close()
		if err := s.registry.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	s.start()
	return s
}

// start makes the target.
func (s *storage) start() {
	s.t.Helper()
	tgt, err := target.New(target.Config{Log: testLog(s.t).With("end", "target")})
	if err != nil {
		s.t.Fatal(err)
	}
	s.target = tgt
	if err := tgt.CreateTransport(target.TransportOptions{}); err != nil {
		s.t.Fatal(err)
	}
	if err := tgt.CreateSubsystem(target.SubsystemConfig{NQN: subnqn, AllowAnyHost: true, SerialNumber: "SN1"}); err != nil {
		s.t.Fatal(err)
	}
}

// listen adds a listener at a port ("0" for any), and returns its address for hosts.
func (s *storage) listen(port string) host.TransportID {
	s.t.Helper()
	addr, err := s.target.AddListener(s.t.Context(), subnqn, target.ListenerConfig{
		Address: target.Address{ADRFAM: target.IPv4, TRADDR: "127.0.0.1", TRSVCID: port},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return host.TransportID{Trtype: "TCP", Adrfam: "IPv4", Traddr: addr.TRADDR, Trsvcid: addr.TRSVCID, Subnqn: subnqn}
}

// unlisten removes a listener, and with it the connections that came through it.
func (s *storage) unlisten(trid host.TransportID) {
	s.t.Helper()
	err := s.target.RemoveListener(s.t.Context(), subnqn, target.Address{ADRFAM: target.IPv4, TRADDR: trid.Traddr, TRSVCID: trid.Trsvcid})
	if err != nil {
		s.t.Fatal(err)
	}
}

// malloc makes a malloc bdev of the storage side.
func (s *storage) malloc(name string, block uint32, blocks uint64) *bdev.Info {
	s.t.Helper()
	info, err := bdev.CreateMalloc(s.registry, bdev.MallocOptions{Name: name, BlockSizeBytes: block, Blocks: blocks})
	if err != nil {
		s.t.Fatal(err)
	}
	return info
}

// export makes a bdev a namespace, as the data plane does: identifiers are those of the bdev.
func (s *storage) export(name string, nsid uint32) {
	s.t.Helper()
	s.exportTo(subnqn, name, nsid)
}

// exportTo is export to a subsystem of another name.
func (s *storage) exportTo(nqn, name string, nsid uint32) {
	s.t.Helper()
	info, err := s.registry.Lookup(name)
	if err != nil {
		s.t.Fatal(err)
	}
	tgt := s.target
	d, err := s.registry.Open(name, true, bdev.Events{
		Resized: func() { _ = tgt.NamespaceResized(nqn, nsid) },
		Removed: func() { _ = tgt.RemoveNamespace(context.Background(), nqn, nsid) },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = tgt.AddNamespace(nqn, target.NamespaceConfig{
		NSID: nsid, Device: d, BdevName: name, UUID: info.UUID, NGUID: info.UUID, WriteCache: info.WriteCache,
		Released: func() { _ = d.Close() },
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// unexport removes a namespace.
func (s *storage) unexport(nsid uint32) {
	s.t.Helper()
	if err := s.target.RemoveNamespace(s.t.Context(), subnqn, nsid); err != nil {
		s.t.Fatal(err)
	}
}

// client is an initiator with its own bdevs.
type client struct {
	*host.Host
	t        testing.TB
	registry *bdev.Registry
}

// newClient starts an initiator that ends with the test. Pauses are short; edit changes the rest.
func newClient(t testing.TB, edit ...func(*host.Config)) *client {
	t.Helper()
	c := &client{t: t, registry: bdev.NewRegistry()}
	cfg := host.Config{
		Registry: c.registry, Log: testLog(t).With("end", "host"),
		AnswerTimeout: 5 * time.Second, RetryPause: 5 * time.Millisecond, QueuesMax: 2,
	}
	for _, f := range edit {
		f(&cfg)
	}
	h, err := host.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.Host = h
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Errorf("close the host: %v", err)
		}
		if left := c.registry.List(); len(left) != 0 {
			t.Errorf("%d bdevs are left", len(left))
		}
	})
	return c
}

// options are those of a test that attaches at an address.
func (c *client) options(name string, trid host.TransportID) host.AttachOptions {
	o := c.AttachDefaults()
	o.Name, o.Trid = name, trid
	return o
}

// attach attaches, and fails the test if that fails.
func (c *client) attach(name string, trid host.TransportID, edit ...func(*host.AttachOptions)) []string {
	c.t.Helper()
	o := c.options(name, trid)
	for _, f := range edit {
		f(&o)
	}
	names, err := c.Attach(c.t.Context(), o)
	if err != nil {
		c.t.Fatalf("attach: %v", err)
	}
	return names
}

// open opens a bdev for writing until the test ends.
func (c *client) open(name string) *bdev.Desc {
	c.t.Helper()
	var d *bdev.Desc
	gone := make(chan struct{})
	d, err := c.registry.Open(name, true, bdev.Events{Removed: func() { close(gone) }})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = d.Close() })
	return d
}

// state returns the state of the i-th path of a controller, or "".
func (c *client) state(name string, i int) host.State {
	for _, info := range c.Controllers() {
		if info.Name == name && i < len(info.Paths) {
			return info.Paths[i].State
		}
	}
	return ""
}

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// testLog writes to the test's output.
func testLog(t testing.TB) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
