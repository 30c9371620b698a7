// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

const hostNQN = "nqn.2014-08.org.nvmexpress:uuid:aaaaaaaa-0000-4000-8000-000000000001"

// storage is a storage node: a data plane that exports bdevs.
type storage struct {
	*bench
	sub       *driver.Subsystem
	listeners []*driver.Listener
}

// storage starts a storage node with that many listeners; namespaces come later.
func (s Suite) storage(t *testing.T, listeners int) *storage {
	t.Helper()
	n := &storage{bench: s.bench(t), sub: subsystem("storage")}
	n.must(driver.Create, n.sub)
	for range listeners {
		l := &driver.Listener{Subsystem: n.sub.NQN, Address: loopback(n.port())}
		n.must(driver.Create, l)
		n.listeners = append(n.listeners, l)
	}
	return n
}

// export adds a namespace on a new bdev.
func (n *storage) export(nsid uint32) (*driver.Bdev, *driver.Namespace) {
	n.t.Helper()
	b := malloc(fmt.Sprintf("vol%d-%s", nsid, uuid.NewString()[:8]))
	ns := namespace(n.sub, nsid, b)
	n.must(driver.Create, b)
	n.must(driver.Create, ns)
	return b, ns
}

// path returns a path to one of the listeners.
func (n *storage) path(controller string, listener int) *driver.Path {
	return &driver.Path{
		Controller: controller, Address: n.listeners[listener].Address, SubsystemNQN: n.sub.NQN,
		HostNQN: hostNQN, Multipath: driver.MultipathMultipath, IOQueues: 1,
	}
}

// bdevOf returns the observed bdev of a namespace of a controller, or nil.
func (b *bench) bdevOf(controller string, nsid uint32) *driver.Bdev {
	b.t.Helper()
	got, _ := b.observe()[driver.BdevKey(fmt.Sprintf("%sn%d", controller, nsid))].(*driver.Bdev)
	return got
}

// hosts returns how many controllers are connected through a listener.
func (n *storage) hosts(listener int) int {
	n.t.Helper()
	counter, ok := n.Driver.(driver.HostCounter)
	if !ok {
		n.t.Fatal("the driver cannot count hosts")
	}
	got, err := counter.ConnectedHosts(n.t.Context(), n.sub.NQN)
	if err != nil {
		n.t.Fatal(err)
	}
	return got[n.listeners[listener].Key()]
}

// testPaths attaches two paths, takes them away one by one, and survives the storage node's absence.
func testPaths(t *testing.T, s Suite) {
	node, b := s.storage(t, 2), s.bench(t)
	vol, ns := node.export(1)
	first, second := node.path("remote", 0), node.path("remote", 1)
	b.must(driver.Create, first)
	b.serves(first)
	disk := b.bdevOf("remote", 1)
	if disk == nil || disk.Kind != driver.BdevNvme || disk.Nvme == nil || *disk.Nvme != (driver.NvmeOrigin{Controller: "remote", NSID: 1}) ||
		disk.Blocks != vol.Blocks || disk.BlockSizeBytes != vol.BlockSizeBytes ||
		compact(disk.UUID) != compact(ns.NGUID) {
		t.Fatalf("bdev of the remote namespace: %+v, of %+v", disk, ns)
	}
	b.must(driver.Create, second)
	b.serves(first, second)
	if node.hosts(0) != 1 || node.hosts(1) != 1 {
		t.Errorf("hosts: %d and %d", node.hosts(0), node.hosts(1))
	}
	for _, p := range []*driver.Path{first, second} {
		if got, ok := b.observe()[p.Key()].(*driver.Path); !ok || got.State != "enabled" {
			t.Errorf("path: %+v", got)
		}
		b.refused(errdefs.AlreadyExists, driver.Step{Op: driver.Create, Object: p}, p.Key().String())
		if err := b.apply(driver.Step{Op: driver.Create, Object: p, Adopt: true})[0]; err != nil {
			t.Errorf("adopt: %v", err)
		}
		if err := b.apply(driver.Step{Op: driver.Update, Object: p, From: p})[0]; !errors.Is(err, driver.ErrNotInPlace) {
			t.Errorf("update: %v", err)
		}
	}
	resetter, ok := b.Driver.(driver.Resetter)
	if !ok {
		t.Fatal("the driver cannot reset controllers")
	}
	if err := resetter.ResetController(t.Context(), "remote"); err != nil {
		t.Errorf("reset: %v", err)
	}
	if err := resetter.ResetController(t.Context(), "nosuch"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("reset of an unknown controller: %v", err)
	}

	b.must(driver.Delete, first)
	b.must(driver.Delete, first)
	b.lacks(first)
	b.serves(second)
	if b.bdevOf("remote", 1) == nil {
		t.Error("the bdev is gone with the first of two paths")
	}
	b.must(driver.Delete, second)
	b.lacks(second)
	if b.bdevOf("remote", 1) != nil {
		t.Error("the bdev is there after the last path")
	}
	b.must(driver.Delete, second)

	// The storage node goes; the disk stays, and the path comes back by itself.
	b.must(driver.Create, first)
	state := func() string {
		got, _ := b.observe()[first.Key()].(*driver.Path)
		if got == nil {
			return "gone"
		}
		return got.State
	}
	node.Kill()
	b.eventually("the path shows that the target is away", func() bool { return state() != "enabled" })
	if state() == "gone" || b.bdevOf("remote", 1) == nil {
		t.Error("the path or its bdev is gone with the target")
	}
	node.Start()
	node.eventually("the storage node is back", func() bool { return node.Driver.Status().Up })
	for _, o := range []driver.Object{node.sub, vol, node.listeners[0], ns} {
		node.eventually("it is back", func() bool { return node.do(driver.Create, o) == nil })
	}
	b.eventually("the path is back", func() bool { return state() == "enabled" })
	b.must(driver.Delete, first)
}

// compact returns hexadecimal digits without dashes, in lower case.
func compact(id string) string {
	out := make([]byte, 0, len(id))
	for i := range len(id) {
		switch c := id[i]; {
		case c == '-':
		case c >= 'A' && c <= 'F':
			out = append(out, c+'a'-'A')
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// testPathRefusals attaches what cannot be attached, beside something that can.
func testPathRefusals(t *testing.T, s Suite) {
	node, b := s.storage(t, 2), s.bench(t)
	node.export(1)
	good := node.path("good", 0)
	away := node.path("away", 0)
	away.Address = loopback(b.port())
	wrong := node.path("wrong", 0)
	wrong.SubsystemNQN += "-not"
	m := malloc("m")
	after := malloc("after")
	errs := b.apply(
		driver.Step{Op: driver.Create, Object: away},
		driver.Step{Op: driver.Create, Object: wrong},
		driver.Step{Op: driver.Create, Object: good},
		driver.Step{Op: driver.Create, Object: m},
		driver.Step{Op: driver.Create, Object: after, After: []int{0}},
	)
	for i, err := range errs[:2] {
		if reason, _ := errdefs.Info(err); !errors.Is(err, errdefs.Unavailable) || reason != driver.ReasonTargetUnreachable {
			t.Errorf("attach %d: reason %q of %v", i, reason, err)
		}
	}
	if err := errors.Join(errs[2:4]...); err != nil {
		t.Errorf("beside it: %v", err)
	}
	if !errors.Is(errs[4], driver.ErrSkipped) {
		t.Errorf("behind it: %v", errs[4])
	}
	b.serves(good, m)
	b.lacks(away, wrong, after)

	// The same connection under another name, as the same host.
	again := node.path("again", 0)
	b.refused(errdefs.AlreadyExists, driver.Step{Op: driver.Create, Object: again, Adopt: true}, "good")
	other := node.path("good", 1)
	other.HostNQN = hostNQN + "2"
	b.refused(errdefs.InvalidArgument, driver.Step{Op: driver.Create, Object: other, Adopt: true}, hostNQN)
	// Known by its address only, detached by its address only.
	b.must(driver.Delete, node.path("good", 1))
	b.must(driver.Delete, node.path("nosuch", 0))
	b.serves(good)
}

// testTwinPaths attaches the same path many times at once: SPDK would make as many controllers.
func testTwinPaths(t *testing.T, s Suite) {
	node, b := s.storage(t, 1), s.bench(t)
	node.export(1)
	const twins = 8
	steps := make([]driver.Step, twins)
	for i := range steps {
		steps[i] = driver.Step{Op: driver.Create, Object: node.path("twin", 0), Adopt: i%2 == 0}
	}
	made := 0
	for i, err := range b.apply(steps...) {
		switch {
		case err == nil && i%2 == 1:
			made++
		case err != nil && (i%2 == 0 || !errors.Is(err, errdefs.AlreadyExists)):
			t.Errorf("twin %d: %v", i, err)
		}
	}
	if made > 1 {
		t.Errorf("%d made the same path", made)
	}
	if n := node.hosts(0); n != 1 {
		t.Errorf("%d controllers at the target", n)
	}
	// One whose caller gave up goes on, and the next waits for it.
	b.must(driver.Delete, node.path("twin", 0))
	ctx, cancel := context.WithCancel(t.Context())
	outcome := make(chan []error, 1)
	go func() { outcome <- b.Driver.Apply(ctx, steps[:1]) }()
	<-time.After(time.Millisecond)
	cancel()
	<-outcome
	if err := b.apply(steps[0])[0]; err != nil {
		t.Errorf("after one that was given up: %v", err)
	}
	b.eventually("one controller is left", func() bool { return node.hosts(0) == 1 })
}

// testNSIDReuse removes a namespace and makes another one of the same id at once: a host that is
// connected must see the new one, not the old one's identity.
func testNSIDReuse(t *testing.T, s Suite) {
	node, b := s.storage(t, 1), s.bench(t)
	_, old := node.export(3)
	b.must(driver.Create, node.path("c", 0))
	b.eventually("the namespace is there", func() bool { return b.bdevOf("c", 3) != nil })
	vol := malloc("new")
	ns := namespace(node.sub, 3, vol)
	errs := node.apply(
		driver.Step{Op: driver.Create, Object: vol},
		driver.Step{Op: driver.Delete, Object: old},
		driver.Step{Op: driver.Create, Object: ns, After: []int{0, 1}},
	)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	b.eventually("the host sees the new namespace", func() bool {
		got := b.bdevOf("c", 3)
		return got != nil && compact(got.UUID) == compact(ns.NGUID)
	})
}

// testPathStats reads the counters of paths.
func testPathStats(t *testing.T, s Suite) {
	node, b := s.storage(t, 1), s.bench(t)
	statter, ok := b.Driver.(driver.Statter)
	if !ok {
		t.Fatal("the driver has no counters")
	}
	p := node.path("c", 0)
	b.must(driver.Create, p)
	if got, err := statter.Stats(t.Context(), []driver.Key{p.Key()}); err != nil || len(got) != 1 || got[0].ReadOps != 0 {
		t.Errorf("without namespaces: %+v, %v", got, err)
	}
	node.export(1)
	b.eventually("the namespace is there", func() bool { return b.bdevOf("c", 1) != nil })
	got, err := statter.Stats(t.Context(), []driver.Key{p.Key(), driver.BdevKey("cn1")})
	if err != nil || len(got) != 2 || got[0].TickRate == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := statter.Stats(t.Context(), []driver.Key{node.path("nosuch", 0).Key()}); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("an unknown path: %v", err)
	}
}

// testWriteCache: SPDK keeps connected hosts from seeing a write cache appear. The refusal says so.
func testWriteCache(t *testing.T, s Suite) {
	node, b := s.storage(t, 1), s.bench(t)
	n, m := null("n"), malloc("m")
	node.must(driver.Create, n)
	node.must(driver.Create, m)
	node.must(driver.Create, namespace(node.sub, 1, n))
	b.must(driver.Create, node.path("c", 0))
	node.refused(errdefs.FailedPrecondition, driver.Step{Op: driver.Create, Object: namespace(node.sub, 2, m)}, "m", "write cache")
	b.must(driver.Delete, node.path("c", 0))
	node.eventually("the host has gone", func() bool { return node.hosts(0) == 0 })
	node.must(driver.Create, namespace(node.sub, 2, m))
}
