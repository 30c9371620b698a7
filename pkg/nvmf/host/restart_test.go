// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

// TestIOSurvivesATargetRestart: a new target takes the place of the old one, and shows its subsystem
// before its namespaces, as one does that is being set up again.
func TestIOSurvivesATargetRestart(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	s.malloc("m1", 512, 8192)
	s.malloc("m2", 4096, 64)
	s.export("m1", 1)
	s.export("m2", 2)
	trid := s.listen("0")
	c.attach("nvme0", trid, forever)
	underLoad(t, c.open("nvme0n1"), func(progress func(uint64)) {
		for range 2 {
			progress(200)
			s.restart()
			s.listen(trid.Trsvcid)
			eventually(t, "the path is back", func() bool { return c.state("nvme0", 0) == host.StateEnabled })
			s.export("m2", 2)
			s.export("m1", 1)
			progress(200)
		}
	})
	if n := len(c.registry.List()); n != 2 {
		t.Errorf("%d bdevs after the restarts, want 2", n)
	}
	for _, n := range c.notified() {
		if n != "bdev_register nvme0n1" && n != "bdev_register nvme0n2" {
			t.Errorf("notification %q: nobody is to notice a restart", n)
		}
	}
}

// restart replaces the target by one that knows nothing.
func (s *storage) restart() {
	s.t.Helper()
	if err := s.target.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

func TestAsymmetricAccess(t *testing.T) {
	s, c := newStorage(t), newClient(t)
	const nqn = subnqn + "-ana"
	err := s.target.CreateSubsystem(target.SubsystemConfig{NQN: nqn, AllowAnyHost: true, ANAReporting: true, MaxNamespaces: 4})
	if err != nil {
		t.Fatal(err)
	}
	s.malloc("m", 512, 8192)
	s.exportTo(nqn, "m", 1)
	var trids [2]host.TransportID
	var addresses [2]target.Address
	for i, state := range []nvme.ANAState{nvme.ANAOptimized, nvme.ANANonOptimized} {
		addr, err := s.target.AddListener(t.Context(), nqn, target.ListenerConfig{
			Address: target.Address{ADRFAM: target.IPv4, TRADDR: "127.0.0.1", TRSVCID: "0"}, ANAState: state,
		})
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = addr
		trids[i] = host.TransportID{Trtype: "tcp", Adrfam: "ipv4", Traddr: addr.TRADDR, Trsvcid: addr.TRSVCID, Subnqn: nqn}
		c.attach("ana0", trids[i], forever)
	}
	d := c.open("ana0n1")
	current := func() int {
		for i, p := range c.IOPaths("ana0n1") {
			if p.Current {
				return i
			}
		}
		return -1
	}
	underLoad(t, d, func(progress func(uint64)) {
		progress(200)
		eventually(t, "the optimized path is used", func() bool { return current() == 0 })
		setANA(t, s, nqn, addresses[0], nvme.ANAInaccessible)
		setANA(t, s, nqn, addresses[1], nvme.ANAOptimized)
		progress(200)
		eventually(t, "the other path is used", func() bool { return current() == 1 })
		paths := c.IOPaths("ana0n1")
		if paths[0].Accessible || !paths[0].Connected || !paths[1].Accessible {
			t.Errorf("paths %+v", paths)
		}
		setANA(t, s, nqn, addresses[1], nvme.ANAInaccessible)
		setANA(t, s, nqn, addresses[0], nvme.ANANonOptimized)
		progress(200)
		eventually(t, "the first path is used again", func() bool { return current() == 0 })
	})
}

func setANA(t *testing.T, s *storage, nqn string, address target.Address, state nvme.ANAState) {
	t.Helper()
	if err := s.target.SetANAState(nqn, address, state, 0); err != nil {
		t.Fatal(err)
	}
}
