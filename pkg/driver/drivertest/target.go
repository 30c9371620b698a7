// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// port returns a TCP port of 127.0.0.1 that was free a moment ago.
func (b *bench) port() int {
	b.t.Helper()
	l, err := new(net.ListenConfig).Listen(b.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		b.t.Fatalf("%v is no TCP address", l.Addr())
	}
	return at.Port
}

// loopback returns an address of this machine.
func loopback(port int) driver.Address {
	return driver.Address{
		Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(port),
	}
}

// testSubsystems makes all that hosts see, sees it, makes it again, deletes it, deletes it again.
func testSubsystems(t *testing.T, s Suite) {
	b := s.bench(t)
	open, closed := subsystem("open"), subsystem("closed")
	closed.AllowAnyHost = false
	closed.MinCntlid, closed.MaxCntlid = 10, 20
	m, n := malloc("m"), null("n")
	port := b.port()
	six := driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv6, Traddr: "0:0:0:0:0:0:0:1", Trsvcid: strconv.Itoa(port)}
	bare := namespace(closed, 2, n)
	bare.EUI64 = ""
	all := []driver.Object{
		open, closed, m, n,
		&driver.Host{Subsystem: closed.NQN, NQN: "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"},
		&driver.Host{Subsystem: closed.NQN, NQN: "nqn.2026-01.org.example:host"},
		&driver.Listener{Subsystem: open.NQN, Address: loopback(port)},
		&driver.Listener{Subsystem: closed.NQN, Address: loopback(port)},
		&driver.Listener{Subsystem: closed.NQN, Address: six},
		namespace(open, 5, m), bare,
	}
	for _, o := range all {
		b.must(driver.Create, o)
	}
	b.serves(all...)
	for key := range b.observe() {
		if strings.Contains(key.ID, "discovery") {
			t.Errorf("%s is the data plane's own and not to be observed", key)
		}
	}
	if got, ok := b.observe()[m.Key()].(*driver.Bdev); !ok || !got.Claimed {
		t.Errorf("the bdev of a namespace is not claimed: %+v", got)
	}
	for _, o := range all {
		b.refused(errdefs.AlreadyExists, driver.Step{Op: driver.Create, Object: o}, o.Key().String())
		if err := b.apply(driver.Step{Op: driver.Create, Object: o, Adopt: true})[0]; err != nil {
			t.Errorf("adopt %s: %v", o.Key(), err)
		}
	}
	for _, o := range slices.Backward(all) {
		b.must(driver.Delete, o)
		b.must(driver.Delete, o)
	}
	b.lacks(all...)
	for _, o := range all {
		b.must(driver.Create, o)
	}
	b.serves(all...)
	// A subsystem goes with all that is in it, hosts connected or not.
	b.must(driver.Delete, closed)
	b.lacks(closed, bare, all[4])
	b.serves(open, n)
}

// testTargetRefusals makes what cannot be made.
func testTargetRefusals(t *testing.T, s Suite) {
	b := s.bench(t)
	sub, other, m, n := subsystem("s"), subsystem("other"), malloc("m"), malloc("n")
	ns := namespace(sub, 1, m)
	for _, o := range []driver.Object{sub, other, m, n, ns} {
		b.must(driver.Create, o)
	}
	create := func(o driver.Object) driver.Step { return driver.Step{Op: driver.Create, Object: o, Adopt: true} }

	differs := *sub
	differs.SerialNumber = "OTHER"
	b.refused(errdefs.AlreadyExists, create(&differs), sub.NQN, "serial_number")
	for _, nqn := range []string{"", "no-nqn", "nqn.2026-01.org.example", "nqn.2026-01.org.example:" + strings.Repeat("x", 223)} {
		b.refused(errdefs.InvalidArgument, create(&driver.Subsystem{NQN: nqn, AllowAnyHost: true}), nqn)
	}
	serial := subsystem("serial")
	serial.SerialNumber = strings.Repeat("9", 21)
	b.refused(errdefs.InvalidArgument, create(serial), serial.SerialNumber)

	nowhere := subsystem("nowhere")
	b.refused(errdefs.NotFound, create(namespace(nowhere, 1, n)), nowhere.NQN)
	b.refused(errdefs.NotFound, create(&driver.Host{Subsystem: nowhere.NQN, NQN: other.NQN}), nowhere.NQN)
	b.refused(errdefs.NotFound, create(&driver.Listener{Subsystem: nowhere.NQN, Address: loopback(b.port())}), nowhere.NQN)
	b.refused(errdefs.NotFound, driver.Step{Op: driver.Update, Object: nowhere, From: &driver.Subsystem{
		NQN: nowhere.NQN, SerialNumber: nowhere.SerialNumber, ModelNumber: nowhere.ModelNumber, MaxNamespaces: nowhere.MaxNamespaces,
	}}, nowhere.NQN)

	b.refused(errdefs.NotFound, create(namespace(sub, 2, malloc("nobdev"))), "nobdev")
	b.refused(errdefs.AlreadyExists, create(namespace(sub, 1, n)), "bdev_name")
	b.refused(errdefs.FailedPrecondition, create(namespace(sub, 2, m)), "m", "namespace 1 ")
	b.refused(errdefs.FailedPrecondition, create(namespace(other, 2, m)), sub.NQN)
	b.refused(errdefs.InvalidArgument, create(namespace(sub, 17, n)), "17", "16")
	odd := namespace(sub, 2, n)
	odd.NGUID = "odd"
	b.refused(errdefs.InvalidArgument, create(odd), "odd")

	b.refused(errdefs.InvalidArgument, create(&driver.Host{Subsystem: sub.NQN, NQN: "somebody"}), "somebody")

	foreign := loopback(b.port())
	foreign.Traddr = "203.0.113.7"
	b.refused(errdefs.FailedPrecondition, create(&driver.Listener{Subsystem: sub.NQN, Address: foreign}), foreign.Traddr)
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	busy := loopback(0)
	busy.Trsvcid = port
	b.refused(errdefs.FailedPrecondition, create(&driver.Listener{Subsystem: sub.NQN, Address: busy}), port)
	mixed := loopback(b.port())
	mixed.Family = driver.FamilyIPv6
	b.refused(errdefs.InvalidArgument, create(&driver.Listener{Subsystem: sub.NQN, Address: mixed}), "IPv6")
	b.serves(sub, other, m, n, ns)
}

// testListenerLimit makes listeners until the data plane takes no more.
func testListenerLimit(t *testing.T, s Suite) {
	const sane = 64
	b := s.bench(t)
	sub := subsystem("s")
	b.must(driver.Create, sub)
	for made := range sane {
		l := &driver.Listener{Subsystem: sub.NQN, Address: loopback(b.port())}
		err := b.do(driver.Create, l)
		if err == nil {
			b.serves(l)
			continue
		}
		if made == 0 || !errors.Is(err, errdefs.ResourceExhausted) || !strings.Contains(err.Error(), strconv.Itoa(made)) {
			t.Errorf("listener after %d others: %v", made, err)
		}
		b.lacks(l)
		return
	}
}

// testTargetUpdates changes what can be changed in place, and nothing else.
func testTargetUpdates(t *testing.T, s Suite) {
	b := s.bench(t)
	sub, m := subsystem("s"), malloc("m")
	ns := namespace(sub, 1, m)
	for _, o := range []driver.Object{sub, m, ns} {
		b.must(driver.Create, o)
	}
	closed := *sub
	closed.AllowAnyHost = false
	for _, to := range []*driver.Subsystem{&closed, sub, sub} {
		if err := b.apply(driver.Step{Op: driver.Update, Object: to, From: b.observe()[to.Key()]})[0]; err != nil {
			t.Errorf("allow any host %v: %v", to.AllowAnyHost, err)
		}
		b.serves(to)
	}
	model := *sub
	model.ModelNumber = "another"
	other := namespace(sub, 1, m)
	for _, to := range []driver.Object{&model, other} {
		if err := b.apply(driver.Step{Op: driver.Update, Object: to, From: b.observe()[to.Key()]})[0]; !errors.Is(err, driver.ErrNotInPlace) {
			t.Errorf("%s: %v", to.Key(), err)
		}
	}
	b.serves(sub, ns)
}

// testConnectedHosts counts hosts of a subsystem that nobody has connected to; see testPaths for one
// with hosts.
func testConnectedHosts(t *testing.T, s Suite) {
	b := s.bench(t)
	counter, ok := b.Driver.(driver.HostCounter)
	if !ok {
		t.Fatal("the driver cannot count hosts")
	}
	sub := subsystem("s")
	l := &driver.Listener{Subsystem: sub.NQN, Address: loopback(b.port())}
	b.must(driver.Create, sub)
	b.must(driver.Create, l)
	got, err := counter.ConnectedHosts(t.Context(), sub.NQN)
	if n, listed := got[l.Key()]; err != nil || !listed || n != 0 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err = counter.ConnectedHosts(t.Context(), sub.NQN+"x"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("an unknown subsystem: %v", err)
	}
}
