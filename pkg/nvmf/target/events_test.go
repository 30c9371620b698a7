// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"slices"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

// watch sends an Asynchronous Event Request and returns its identifier.
func (c *client) watch() uint16 {
	c.tb.Helper()
	e := c.sqe(nvme.AdminAsyncEventReq, 0)
	c.send(c.capsule(e, nil, false))
	return e.CID()
}

func (c *client) event(cid uint16) nvme.AsyncEvent {
	c.tb.Helper()
	a, err := c.collect(cid, nil)
	if err != nil || a.status != nvme.Success {
		c.tb.Fatalf("event: %v, %v", a.status, err)
	}
	return nvme.AsyncEvent(a.value)
}

func (c *client) changed(rae bool) []uint32 {
	c.tb.Helper()
	ids, err := nvme.DecodeNamespaceList(c.log(nvme.LogRequest{LID: nvme.LogChangedNS, Length: 4096, RAE: rae}).data)
	if err != nil {
		c.tb.Fatal(err)
	}
	return ids
}

func TestNamespaceEvents(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	d := newRAM(512, 8)
	at := export(t, tgt, d)
	c := admin(t, at, options{})
	q := ioQueue(t, at, c, options{}, 1)
	cid := c.watch()
	if _, err := tgt.AddNamespace(subNQN, target.NamespaceConfig{Device: newRAM(512, 8), NSID: 5, WriteCache: true}); err != nil {
		t.Fatal(err)
	}
	if e := c.event(cid); e != nvme.EventNamespaceChanged {
		t.Errorf("event = %#x", uint32(e))
	}
	// Masked until the log is read: two more changes, one event.
	must(t, tgt.RemoveNamespace(t.Context(), subNQN, 5))
	d.mu.Lock()
	d.b = append(d.b, d.b...)
	d.mu.Unlock()
	must(t, tgt.NamespaceResized(subNQN, 1))
	if ids := c.changed(false); !slices.Equal(ids, []uint32{5, 1}) {
		t.Errorf("changed = %v", ids)
	}
	if ids := c.changed(false); ids != nil {
		t.Errorf("changed again = %v", ids)
	}
	if got := q.read(1, 15, 1, 512); got.status != nvme.Success {
		t.Errorf("read of the new last block: %v", got.status)
	}
	if got := q.read(5, 0, 1, 512); got.status.Code() != nvme.StatusInvalidNamespace {
		t.Errorf("read of the removed namespace: %v", got.status)
	}
	// Without a request waiting the event is kept.
	must(t, tgt.NamespaceResized(subNQN, 1))
	if e := c.event(c.watch()); e != nvme.EventNamespaceChanged {
		t.Errorf("kept event = %#x", uint32(e))
	}
	c.changed(false)
	// Disabled.
	e := c.sqe(0, 0)
	e.SetFeature(nvme.FeatureAsyncEvents, 0)
	c.do(e, nil, false)
	must(t, tgt.NamespaceResized(subNQN, 1))
	cids := []uint16{c.watch(), c.watch(), c.watch(), c.watch()}
	if got := c.do(c.sqe(nvme.AdminAsyncEventReq, 0), nil, false); got.status.Code() != nvme.StatusAsyncEventLimit {
		t.Errorf("fifth request: %v", got.status)
	}
	// Abort one of them: its answer comes first.
	e = c.sqe(nvme.AdminAbort, 0)
	e.SetCDW(10, uint32(cids[1])<<16)
	c.send(c.capsule(e, nil, false))
	if a, err := c.collect(cids[1], nil); err != nil || a.status.Code() != nvme.StatusAbortRequested {
		t.Errorf("aborted request: %v, %v", a.status, err)
	}
	if a, err := c.collect(e.CID(), nil); err != nil || a.status != nvme.Success || a.value != 0 {
		t.Errorf("abort: %v, %d, %v", a.status, a.value, err)
	}
	e = c.sqe(nvme.AdminAbort, 0)
	e.SetCDW(10, 0x7777<<16|1)
	if got := c.do(e, nil, false); got.status != nvme.Success || got.value != 1 {
		t.Errorf("abort of nothing: %v, %d", got.status, got.value)
	}
}

func TestANA(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	must(t, tgt.CreateSubsystem(target.SubsystemConfig{NQN: subNQN, AllowAnyHost: true, ANAReporting: true, MaxNamespaces: 4}))
	for range 2 {
		if _, err := tgt.AddNamespace(subNQN, target.NamespaceConfig{Device: newRAM(512, 8)}); err != nil {
			t.Fatal(err)
		}
	}
	at := listen(t, tgt, subNQN, target.Address{TRADDR: "127.0.0.1", TRSVCID: "0"})
	other := listen(t, tgt, subNQN, target.Address{TRADDR: "127.0.0.1", TRSVCID: "0"})
	c := admin(t, at, options{})
	q := ioQueue(t, at, c, options{}, 1)
	wrong := dial(t, other, options{})
	if got := wrong.connect(2, c.cntlid); got.status.Code() != nvme.StatusConnectInvalidParam {
		t.Errorf("I/O queue through another listener: %v", got.status)
	}
	cid := c.watch()
	must(t, tgt.SetANAState(subNQN, at, nvme.ANAInaccessible, 2))
	if e := c.event(cid); e != nvme.EventANAChanged {
		t.Errorf("event = %#x", uint32(e))
	}
	_, groups, err := nvme.DecodeANA(c.log(nvme.LogRequest{LID: nvme.LogANA, Length: 4096}).data)
	if err != nil || len(groups) != 2 || groups[0].State != nvme.ANAOptimized || groups[1].State != nvme.ANAInaccessible || !slices.Equal(groups[1].NSIDs, []uint32{2}) {
		t.Errorf("log = %+v, %v", groups, err)
	}
	if got := q.read(1, 0, 1, 512); got.status != nvme.Success {
		t.Errorf("read of group 1: %v", got.status)
	}
	if got := q.read(2, 0, 1, 512); got.status.Code() != nvme.StatusANAInaccessible || got.status.DNR() {
		t.Errorf("read of group 2: %v", got.status)
	}
	ns, err := nvme.DecodeIdentifyNamespace(c.identify(nvme.CNSNamespace, 2).data)
	if err != nil || ns.ANAGRPID != 2 {
		t.Errorf("group of namespace 2 = %d, %v", ns.ANAGRPID, err)
	}
	i, err := tgt.Subsystem(subNQN)
	if err != nil || !slices.Equal(i.Listeners[1].ANAStates, []nvme.ANAState{1, 3, 1, 1}) {
		t.Errorf("states = %+v, %v", i.Listeners, err)
	}
}
