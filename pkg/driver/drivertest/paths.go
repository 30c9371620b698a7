// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"errors"
	"fmt"
	"testing"

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
	if looked := b.look(first); looked[first.Key()] == nil || looked[driver.BdevKey("remoten1")] == nil {
		t.Errorf("a look at a path does not show what it brought: %v", looked)
	}
	b.serves(first)
	disk := b.bdevOf("remote", 1)
	if disk == nil || disk.Kind != driver.BdevNvme || disk.Nvme == nil || disk.Nvme.Controller != "remote" || disk.Nvme.NSID != 1 ||
		disk.Blocks != vol.Blocks || disk.BlockSizeBytes != vol.BlockSizeBytes ||
		compact(disk.UUID) != compact(ns.NGUID) {
		t.Fatalf("bdev of the remote namespace: %+v, of %+v", disk, ns)
	}
	// Not every data plane can ask; and one that can may be told later.
	if told := disk.Nvme; told.NGUID != "" && (told.NGUID != compact(ns.NGUID) || told.UUID != ns.UUID || told.EUI64 != ns.EUI64) {
		t.Errorf("the remote namespace is known by %+v, and is %+v", told, ns)
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
