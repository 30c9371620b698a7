// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/host/guest"
	"github.com/opi-bridge/opi-bridge/tests/host/machine"
)

const (
	storageNQN = "nqn.2024-01.io.example.storage:vol-1"
	fireNQN    = "nqn.2024-01.io.example.dpu:fire"
	fireUUID   = "0b5a5d9e-52c5-4d6b-8d0e-9f7e3c1a2b44"
)

// site is a storage node with two ports, a DPU with a path to each and two ports of its own, and a guest
// with a path to each of those that does verified I/O all the time.
type site struct {
	t            *testing.T
	storage, dpu *node
	ports        []int    // of the storage node
	fronts       []int    // of the DPU
	wires        []*relay // before the ports
	guest        *machine.Machine
	device       string
}

// newSite builds the way from a file on the storage node to the guest, and begins the I/O.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, storage: newNode(t), dpu: newNode(t), ports: []int{testkit.FreePort(t), testkit.FreePort(t)}}
	s.storage.export("vol-1", storageNQN, "", s.storage.file("vol-1", 16*mib), s.ports...)
	s.wires = []*relay{newRelay(t, s.ports[0]), newRelay(t, s.ports[1])}
	volume := s.dpu.attach("storage-1", storageNQN, s.wires[0].port(), s.wires[1].port())[0].GetName()
	s.fronts = []int{testkit.FreePort(t), testkit.FreePort(t)}
	s.dpu.export("fire", fireNQN, fireUUID, volume, s.fronts...)

	s.guest = machine.Start(t, machine.Config{Modules: []string{"nvme_tcp"}})[0]
	s.guest.LoadModules("nvme_tcp")
	for _, port := range s.fronts {
		s.dpu.must(s.guest.Connect(options(port, fireNQN, allowedNQN)))
	}
	s.device = "/dev/" + find(t, s.guest, "the disk", byUUID(fireUUID)).Name
	s.guest.StartLoad(guest.Load{Device: s.device, Bytes: 8 * mib, IOSizeBytes: 4096, Depth: 8, WritePercent: 50, Seed: 4})
	return s
}

// under does something to the site and wants the guest to notice nothing but a pause.
func (s *site) under(what string, do func()) {
	s.t.Helper()
	s.guest.MarkLoad(s.device)
	do()
	s.storage.whole()
	s.dpu.whole()
	moves(s.t, s.guest, s.device, "after: "+what)
	r := s.guest.MarkLoad(s.device)
	clean(s.t, what, r)
	s.t.Logf("%-55s longest wait %8s, median %8s, %6d reads and writes in %s",
		what, milliseconds(r.Longest), milliseconds(r.Median), r.Reads+r.Writes, milliseconds(r.Elapsed))
}

// busy returns the number of the path to the storage node that carries the I/O.
func (s *site) busy() int {
	s.t.Helper()
	before := []uint64{s.wires[0].bytes.Load(), s.wires[1].bytes.Load()}
	moves(s.t, s.guest, s.device, "on some path")
	if s.wires[0].bytes.Load()-before[0] > s.wires[1].bytes.Load()-before[1] {
		return 0
	}
	return 1
}

// connected waits until the paths to the storage node are connected.
func (s *site) connected() {
	s.t.Helper()
	const queues = 2 // one for administration, one for I/O
	testkit.Eventually(s.t, "the DPU has its paths", func() error {
		if first, second := s.wires[0].open(), s.wires[1].open(); first < queues || second < queues {
			return fmt.Errorf("they have %d and %d connections", first, second)
		}
		return nil
	})
}

// live waits until the guest has all of its paths.
func (s *site) live() {
	s.t.Helper()
	testkit.Eventually(s.t, "the guest has its paths", func() error {
		if states := strings.Fields(s.guest.Shell("cat /sys/class/nvme/nvme*/state")); !slices.Equal(states, []string{"live", "live"}) {
			return fmt.Errorf("they are %q", states)
		}
		return nil
	})
}

// TestIOUnderFire kills, restarts and cuts everything between a guest's disk and the file behind it.
func TestIOUnderFire(t *testing.T) {
	s := newSite(t)
	still := func(when string) { moves(t, s.guest, s.device, when) }
	s.under("nothing", func() { still("in peace") })
	s.under("the DPU's bridge is killed ten times", func() {
		for range 10 {
			s.dpu.bridge.Restart()
			s.dpu.whole()
			still("while the bridge comes and goes")
		}
	})
	s.under("the DPU's data plane is killed and started", s.dpu.dataPlane.Restart)
	s.under("and four times more", func() {
		for range 4 {
			s.dpu.whole()
			still("between deaths")
			s.dpu.dataPlane.Restart()
		}
	})
	s.under("the DPU's data plane and bridge are killed and started", func() {
		s.dpu.bridge.Kill()
		s.dpu.dataPlane.Restart()
		s.dpu.bridge.Start()
	})
	s.under("the storage node is killed and started", func() {
		s.storage.bridge.Kill()
		s.storage.dataPlane.Restart()
		s.storage.bridge.Start()
		s.connected()
	})
	s.under("the DPU's data plane comes back before the storage node", func() {
		s.storage.bridge.Kill()
		s.storage.dataPlane.Kill()
		s.dpu.dataPlane.Restart()
		s.dpu.shut("nvmeSubsystems/fire/nvmeControllers/port-0", "nvmeSubsystems/fire/nvmeNamespaces/fire")
		s.storage.dataPlane.Start()
		s.storage.bridge.Start()
		s.connected()
	})
	// Each path alone has to carry, so each has been restored when the other goes.
	for range s.ports {
		busy := s.busy()
		port := fmt.Sprintf("port-%d", busy)
		s.under("the port of the path in use goes", func() { s.storage.hush("vol-1", port); still("on the other path") })
		s.under("it comes back", func() { s.storage.listen("vol-1", port, s.ports[busy]); s.connected() })
	}
	for range s.wires {
		busy := s.busy()
		s.under("the wire of the path in use is cut", func() { s.wires[busy].sever(); still("on the other path") })
		s.under("it is mended", func() { s.wires[busy].mend(); s.connected() })
	}
	s.under("a port of the DPU goes", func() { s.dpu.hush("fire", "port-0"); still("on the guest's second path") })
	s.under("it comes back", func() { s.dpu.listen("fire", "port-0", s.fronts[0]); s.live() })
	s.under("the other port of the DPU goes", func() { s.dpu.hush("fire", "port-1"); still("on the guest's first path") })
	s.under("it comes back", func() { s.dpu.listen("fire", "port-1", s.fronts[1]); s.live() })
	lastLook(t, s.guest, s.device)
}
