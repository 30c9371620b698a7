// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

func TestSubsystemErrors(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	must(t, tgt.CreateSubsystem(target.SubsystemConfig{NQN: subNQN, MaxNamespaces: 2}))
	ctx := t.Context()
	anywhere := target.Address{TRADDR: "127.0.0.1", TRSVCID: "0"}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	must(t, err)
	add := func(nqn string, cfg target.NamespaceConfig) error { _, err := tgt.AddNamespace(nqn, cfg); return err }
	hear := func(nqn string, a target.Address) error {
		_, err := tgt.AddListener(ctx, nqn, target.ListenerConfig{Address: a})
		return err
	}
	must(t, add(subNQN, target.NamespaceConfig{Device: newRAM(512, 1)}))
	must(t, tgt.AddHost(subNQN, target.HostConfig{NQN: hostNQN}))
	for _, c := range []struct {
		what string
		err  error
		want error
	}{
		{"subsystem again", tgt.CreateSubsystem(target.SubsystemConfig{NQN: subNQN}), errdefs.AlreadyExists},
		{"discovery again", tgt.CreateSubsystem(target.SubsystemConfig{NQN: nvme.DiscoveryNQN}), errdefs.AlreadyExists},
		{"bad NQN", tgt.CreateSubsystem(target.SubsystemConfig{NQN: "foo"}), nvme.ErrNQN},
		{"serial too long", tgt.CreateSubsystem(target.SubsystemConfig{NQN: subNQN + "x", SerialNumber: strings.Repeat("S", 21)}), errdefs.InvalidArgument},
		{"model not printable", tgt.CreateSubsystem(target.SubsystemConfig{NQN: subNQN + "x", ModelNumber: "a\x01"}), errdefs.InvalidArgument},
		{"cntlid range", tgt.CreateSubsystem(target.SubsystemConfig{NQN: subNQN + "x", MinCNTLID: 20, MaxCNTLID: 10}), errdefs.InvalidArgument},
		{"cntlid limit", tgt.CreateSubsystem(target.SubsystemConfig{NQN: subNQN + "x", MaxCNTLID: 65520}), errdefs.InvalidArgument},
		{"transport again", tgt.CreateTransport(target.TransportOptions{}), errdefs.AlreadyExists},
		{"delete of nothing", tgt.DeleteSubsystem(ctx, subNQN+"x"), target.ErrNoSubsystem},
		{"nsid taken", add(subNQN, target.NamespaceConfig{Device: newRAM(512, 1), NSID: 1}), errdefs.AlreadyExists},
		{"nsid too high", add(subNQN, target.NamespaceConfig{Device: newRAM(512, 1), NSID: 3}), errdefs.InvalidArgument},
		{"group too high", add(subNQN, target.NamespaceConfig{Device: newRAM(512, 1), ANAGRPID: 3}), errdefs.InvalidArgument},
		{"odd block size", add(subNQN, target.NamespaceConfig{Device: newRAM(1536, 1)}), errdefs.InvalidArgument},
		{"no device", add(subNQN, target.NamespaceConfig{}), errdefs.InvalidArgument},
		{"namespace of discovery", add(nvme.DiscoveryNQN, target.NamespaceConfig{Device: newRAM(512, 1)}), errdefs.FailedPrecondition},
		{"namespace of nothing", add(subNQN+"x", target.NamespaceConfig{Device: newRAM(512, 1)}), target.ErrNoSubsystem},
		{"removal of nothing", tgt.RemoveNamespace(ctx, subNQN, 2), target.ErrNoNamespace},
		{"host again", tgt.AddHost(subNQN, target.HostConfig{NQN: hostNQN}), errdefs.AlreadyExists},
		{"bad host", tgt.AddHost(subNQN, target.HostConfig{NQN: "x"}), nvme.ErrNQN},
		{"unknown host", tgt.RemoveHost(ctx, subNQN, otherNQN), target.ErrNoHost},
		{"family", hear(subNQN, target.Address{ADRFAM: "IPv6", TRADDR: "127.0.0.1", TRSVCID: "0"}), errdefs.InvalidArgument},
		{"family name", hear(subNQN, target.Address{ADRFAM: "ib", TRADDR: "127.0.0.1", TRSVCID: "0"}), errdefs.InvalidArgument},
		{"address", hear(subNQN, target.Address{TRADDR: "localhost", TRSVCID: "0"}), errdefs.InvalidArgument},
		{"port", hear(subNQN, target.Address{TRADDR: "127.0.0.1", TRSVCID: "70000"}), errdefs.InvalidArgument},
		{"port taken", hear(subNQN, target.Address{TRADDR: "127.0.0.1", TRSVCID: port}), errdefs.FailedPrecondition},
		{"foreign address", hear(subNQN, target.Address{TRADDR: "192.0.2.1", TRSVCID: "0"}), errdefs.FailedPrecondition},
		{"no listener", tgt.RemoveListener(ctx, subNQN, target.Address{TRADDR: "127.0.0.1", TRSVCID: "1"}), target.ErrNoListener},
		{"ANA without reporting", tgt.SetANAState(subNQN, anywhere, nvme.ANAOptimized, 0), errdefs.FailedPrecondition},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.err, c.want)
		}
	}
	must(t, add(subNQN, target.NamespaceConfig{Device: newRAM(512, 1)}))
	if err := add(subNQN, target.NamespaceConfig{Device: newRAM(512, 1)}); !errors.Is(err, errdefs.ResourceExhausted) {
		t.Errorf("third namespace of two: %v", err)
	}
	if len(tgt.Subsystems()) != 2 || tgt.Subsystems()[0].NQN != nvme.DiscoveryNQN {
		t.Errorf("subsystems = %+v", tgt.Subsystems())
	}
	bare, err := target.New(target.Config{MaxSubsystems: 1})
	must(t, err)
	if err := bare.CreateSubsystem(target.SubsystemConfig{NQN: subNQN}); !errors.Is(err, errdefs.ResourceExhausted) {
		t.Errorf("one subsystem too many: %v", err)
	}
	if _, err := bare.AddListener(ctx, nvme.DiscoveryNQN, target.ListenerConfig{Address: anywhere}); !errors.Is(err, target.ErrNoTransport) {
		t.Errorf("listener without transport: %v", err)
	}
	must(t, bare.Close())
	must(t, bare.Close())
	if err := bare.AddHost(nvme.DiscoveryNQN, target.HostConfig{NQN: hostNQN}); !errors.Is(err, target.ErrClosed) {
		t.Errorf("closed target: %v", err)
	}
}

// TestNamelessHost connects without a host NQN, which is enough where every host is let in.
func TestNamelessHost(t *testing.T) {
	at := export(t, newTarget(t, target.TransportOptions{}), newRAM(512, 8))
	c := dial(t, at, options{})
	c.opts.host = ""
	if got := c.connect(0, nvme.CNTLIDDynamic); got.status != nvme.Success {
		t.Errorf("any host: %v", got.status)
	}
	closed := newTarget(t, target.TransportOptions{})
	at = export(t, closed, newRAM(512, 8))
	must(t, closed.SetAllowAnyHost(subNQN, false))
	must(t, closed.AddHost(subNQN, target.HostConfig{NQN: hostNQN}))
	c = dial(t, at, options{})
	c.opts.host = ""
	if got := c.connect(0, nvme.CNTLIDDynamic); got.status.Code() != nvme.StatusConnectInvalidHost {
		t.Errorf("listed hosts: %v", got.status)
	}
}

// TestControllerIDsOfARange: hosts get those of the subsystem's range in turn, and none when all are taken.
func TestControllerIDsOfARange(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	const few = subNQN + "-few"
	must(t, tgt.CreateSubsystem(target.SubsystemConfig{NQN: few, AllowAnyHost: true, MinCNTLID: 7, MaxCNTLID: 8}))
	at := listen(t, tgt, few, target.Address{TRADDR: "127.0.0.1", TRSVCID: "0"})
	first, second := admin(t, at, options{sub: few}), admin(t, at, options{sub: few})
	if first.cntlid != 7 || second.cntlid != 8 {
		t.Errorf("controllers %d and %d of 7-8", first.cntlid, second.cntlid)
	}
	if got := dial(t, at, options{sub: few}).connect(0, nvme.CNTLIDDynamic); got.status != nvme.StatusInternalError {
		t.Errorf("a third host: %v", got.status)
	}
}

func TestAccess(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	at := export(t, tgt, newRAM(512, 8))
	must(t, tgt.SetAllowAnyHost(subNQN, false))
	refused := func(o options, qid, cntlid uint16) answer { return dial(t, at, o).connect(qid, cntlid) }
	if got := refused(options{}, 0, nvme.CNTLIDDynamic); got.status.Code() != nvme.StatusConnectInvalidHost {
		t.Errorf("host that is not listed: %v", got.status)
	}
	must(t, tgt.AddHost(subNQN, target.HostConfig{NQN: hostNQN}))
	must(t, tgt.AddHost(subNQN, target.HostConfig{NQN: otherNQN}))
	c := admin(t, at, options{})
	q := ioQueue(t, at, c, options{}, 1)
	o := admin(t, at, options{host: otherNQN})
	if c.cntlid != 1 || o.cntlid != 2 {
		t.Errorf("controllers %d and %d", c.cntlid, o.cntlid)
	}
	const inData = 1 << 16
	for _, x := range []struct {
		what        string
		o           options
		qid, cntlid uint16
		status      nvme.Status
		value       uint64
	}{
		{"unknown subsystem", options{sub: subNQN + "x"}, 0, 0xFFFF, nvme.StatusConnectInvalidParam, inData | 256},
		{"static controller", options{}, 0, 5, nvme.StatusConnectInvalidParam, inData | 16},
		{"unknown controller", options{}, 1, 9, nvme.StatusConnectInvalidParam, inData | 16},
		{"another host's controller", options{host: otherNQN}, 2, 1, nvme.StatusConnectInvalidParam, inData | 512},
		{"admin queue too large", options{sqsize: 128}, 0, 0xFFFF, nvme.StatusConnectInvalidParam, 44},
		{"queue too large", options{sqsize: 128}, 2, 1, nvme.StatusConnectInvalidParam, 44},
		{"queue twice", options{}, 1, 1, nvme.StatusConnectInvalidParam, 42},
		{"queue number", options{}, 128, 1, nvme.StatusInvalidQueueID, 0},
		{"I/O queue of discovery", options{sub: nvme.DiscoveryNQN}, 1, 1, nvme.StatusConnectInvalidParam, inData | 16},
	} {
		if got := refused(x.o, x.qid, x.cntlid); got.status.Code() != x.status || got.value != x.value {
			t.Errorf("%s: %v %#x, want %v %#x", x.what, got.status, got.value, x.status, x.value)
		}
	}
	infos, err := tgt.Controllers(subNQN)
	must(t, err)
	if len(infos) != 2 || infos[0].Queues != 2 || infos[0].HostNQN != hostNQN || infos[0].HostID[0] != 0xAA || infos[1].Queues != 1 {
		t.Errorf("controllers = %+v", infos)
	}
	pairs, err := tgt.Qpairs(subNQN)
	must(t, err)
	if len(pairs) != 3 || pairs[1].QID != 1 || pairs[0].Listener != at || pairs[0].Peer.TRSVCID != port(c.conn.LocalAddr()) {
		t.Errorf("qpairs = %+v", pairs)
	}
	must(t, tgt.RemoveHost(t.Context(), subNQN, hostNQN))
	if infos, err = tgt.Controllers(subNQN); err != nil || len(infos) != 1 {
		t.Errorf("controllers after the removal = %+v, %v", infos, err)
	}
	if !c.closed() || !q.closed() {
		t.Error("the removed host is connected")
	}
	if got := o.identify(nvme.CNSController, 0); got.status != nvme.Success {
		t.Errorf("the other host: %v", got.status)
	}
	must(t, tgt.DeleteSubsystem(t.Context(), subNQN))
	if !o.closed() {
		t.Error("a host of a deleted subsystem is connected")
	}
	if s := tgt.Stats(); s.AdminQpairs != 2 || s.IOQpairs != 1 || s.CurrentAdminQpairs != 0 || s.CurrentIOQpairs != 0 {
		t.Errorf("stats = %+v", s)
	}
}

func port(a net.Addr) string {
	_, p, err := net.SplitHostPort(a.String())
	if err != nil {
		return err.Error()
	}
	return p
}

// TestRemovalWaits holds a request in the device while its namespace is removed.
func TestRemovalWaits(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	d := newSlow(newRAM(512, 8))
	must(t, tgt.CreateSubsystem(target.SubsystemConfig{NQN: subNQN, AllowAnyHost: true}))
	var released atomic.Bool
	if _, err := tgt.AddNamespace(subNQN, target.NamespaceConfig{Device: d, Released: func() { released.Store(true) }}); err != nil {
		t.Fatal(err)
	}
	at := listen(t, tgt, subNQN, target.Address{TRADDR: "127.0.0.1", TRSVCID: "0"})
	q := ioQueue(t, at, admin(t, at, options{}), options{}, 1)
	held := q.rw(nvme.IORead, 1, 0, 1)
	held.SGL().Set(nvme.SGLTransport, 0, 512)
	q.send(q.capsule(held, nil, false))
	// A flush of a namespace that does not exist is answered, so the read before it is in the device.
	if got := q.do(q.sqe(nvme.IOFlush, 9), nil, false); got.status.OK() {
		t.Fatal("no such namespace")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := tgt.RemoveNamespace(ctx, subNQN, 1); !errors.Is(err, errdefs.OutcomeUnknown) || released.Load() {
		t.Errorf("removal with a request in flight: %v, released %t", err, released.Load())
	}
	if got := q.read(1, 0, 1, 512); got.status.Code() != nvme.StatusInvalidNamespace {
		t.Errorf("read during the removal: %v", got.status)
	}
	// The number is free at once, for another device.
	if _, err := tgt.AddNamespace(subNQN, target.NamespaceConfig{Device: newRAM(512, 8), NSID: 1}); err != nil {
		t.Error(err)
	}
	if got := q.read(1, 0, 1, 512); got.status != nvme.Success {
		t.Errorf("read of the successor: %v", got.status)
	}
	close(d.gate)
	if a, err := q.collect(held.CID(), nil); err != nil || a.status != nvme.Success || len(a.data) != 512 {
		t.Errorf("the request in flight: %v, %v", a.status, err)
	}
	eventually(t, "the device is released", released.Load)
}

// TestStuckHost removes a namespace while a host does not take its answers.
func TestStuckHost(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	at := export(t, tgt, mapped{newRAM(512, 4096)})
	q := ioQueue(t, at, admin(t, at, options{}), options{}, 1)
	e := q.rw(nvme.IORead, 1, 0, 256)
	e.SGL().Set(nvme.SGLTransport, 0, 131072)
	one := q.capsule(e, nil, false)
	must(t, q.conn.SetWriteDeadline(time.Now().Add(300*time.Millisecond)))
	for { // until the target stops reading, because it cannot write
		if _, err := q.conn.Write(one); err != nil {
			break
		}
	}
	must(t, tgt.RemoveNamespace(t.Context(), subNQN, 1))
}

func TestKeepAlive(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{KAS: 1, MinKATOMillis: 500})
	at := export(t, tgt)
	c := admin(t, at, options{kato: 600})
	q := ioQueue(t, at, c, options{}, 1)
	end := time.Now().Add(1200 * time.Millisecond)
	for time.Now().Before(end) {
		if got := c.do(c.sqe(nvme.AdminKeepAlive, 0), nil, false); got.status != nvme.Success {
			t.Fatal(got.status)
		}
	}
	if !c.closed() || !q.closed() {
		t.Error("a silent host stays connected")
	}
	eventually(t, "the controller is gone", func() bool { l, err := tgt.Controllers(subNQN); return err == nil && len(l) == 0 })
}

func TestListeners(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	at := export(t, tgt)
	second := subNQN + "b"
	must(t, tgt.CreateSubsystem(target.SubsystemConfig{NQN: second, AllowAnyHost: true}))
	if got := dial(t, at, options{}).opts.sub; got != subNQN {
		t.Fatal(got)
	}
	elsewhere := dial(t, at, options{sub: second})
	if got := elsewhere.connect(0, nvme.CNTLIDDynamic); got.status.Code() != nvme.StatusConnectInvalidHost {
		t.Errorf("subsystem that does not listen here: %v", got.status)
	}
	shared := listen(t, tgt, second, at)
	if shared != at {
		t.Errorf("shared listener is %+v", shared)
	}
	a, b := admin(t, at, options{}), admin(t, at, options{sub: second})
	if _, err := tgt.AddListener(t.Context(), second, target.ListenerConfig{Address: at}); !errors.Is(err, errdefs.AlreadyExists) {
		t.Errorf("same listener again: %v", err)
	}
	must(t, tgt.RemoveListener(t.Context(), subNQN, at))
	if !a.closed() {
		t.Error("a controller survives its listener")
	}
	if got := b.identify(nvme.CNSController, 0); got.status != nvme.Success {
		t.Errorf("the other subsystem: %v", got.status)
	}
	must(t, tgt.RemoveListener(t.Context(), second, at))
	if _, err := net.Dial("tcp", net.JoinHostPort(at.TRADDR, at.TRSVCID)); err == nil {
		t.Error("the socket is still open")
	}
	if again := listen(t, tgt, second, at); again != at {
		t.Errorf("listening again gives %+v", again)
	}
	six := listen(t, tgt, subNQN, target.Address{ADRFAM: target.IPv6, TRADDR: "0:0:0:0:0:0:0:1", TRSVCID: "0"})
	admin(t, six, options{})
	same := six
	same.TRADDR = "::1"
	must(t, tgt.RemoveListener(t.Context(), subNQN, same))
}

func TestDiscovery(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	at := export(t, tgt)
	hidden := subNQN + "hidden"
	must(t, tgt.CreateSubsystem(target.SubsystemConfig{NQN: hidden}))
	listen(t, tgt, hidden, at)
	c := admin(t, at, options{sub: nvme.DiscoveryNQN, kato: 30000})
	d, err := nvme.DecodeIdentifyController(c.identify(nvme.CNSController, 0).data)
	if err != nil || d.CNTRLTYPE != nvme.ControllerDiscovery || d.SUBNQN != nvme.DiscoveryNQN || d.OAES != nvme.OAESDiscoveryLog {
		t.Errorf("controller = %+v, %v", d, err)
	}
	read := func() (uint64, []nvme.DiscoveryEntry) {
		h, err := nvme.DecodeDiscoveryHeader(c.log(nvme.LogRequest{LID: nvme.LogDiscovery, Length: 1024, RAE: true}).data)
		must(t, err)
		gen, entries, err := nvme.DecodeDiscovery(c.log(nvme.LogRequest{LID: nvme.LogDiscovery, Length: 1024 * (1 + h.NUMREC)}).data)
		must(t, err)
		return gen, entries
	}
	gen, entries := read()
	want := nvme.DiscoveryEntry{TRTYPE: 3, ADRFAM: 1, SUBTYPE: 2, TREQ: 2, CNTLID: 0xFFFF, ASQSZ: 128, TRSVCID: at.TRSVCID, SUBNQN: subNQN, TRADDR: "127.0.0.1"}
	if len(entries) != 1 || entries[0] != want {
		t.Errorf("entries = %+v, want %+v", entries, want)
	}
	cid := c.watch()
	must(t, tgt.AddHost(hidden, target.HostConfig{NQN: hostNQN}))
	if e := c.event(cid); e != nvme.EventDiscoveryChanged {
		t.Errorf("event = %#x", uint32(e))
	}
	if again, entries := read(); again == gen || len(entries) != 2 || entries[1].SUBNQN != hidden {
		t.Errorf("generation %d after %d, entries %+v", again, gen, entries)
	}
	if got := c.do(c.sqe(nvme.AdminKeepAlive, 0), nil, false); got.status != nvme.Success {
		t.Errorf("keep alive: %v", got.status)
	}
	if got := c.identify(nvme.CNSActiveNamespaces, 0); got.status.Code() != nvme.StatusInvalidField {
		t.Errorf("namespaces of discovery: %v", got.status)
	}
	if got := c.log(nvme.LogRequest{LID: nvme.LogHealth, Length: 512}); got.status.Code() != nvme.StatusInvalidLogPage {
		t.Errorf("health of discovery: %v", got.status)
	}
	must(t, tgt.DeleteSubsystem(t.Context(), nvme.DiscoveryNQN))
	if !c.closed() {
		t.Error("a deleted discovery subsystem goes on")
	}
}

func TestWriteCacheTrap(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	must(t, tgt.CreateSubsystem(target.SubsystemConfig{NQN: subNQN, AllowAnyHost: true}))
	at := listen(t, tgt, subNQN, target.Address{TRADDR: "127.0.0.1", TRSVCID: "0"})
	add := func(cache bool) error {
		_, err := tgt.AddNamespace(subNQN, target.NamespaceConfig{Device: newRAM(512, 8), WriteCache: cache})
		return err
	}
	must(t, add(false))
	c := admin(t, at, options{})
	if err := add(true); !errors.Is(err, target.ErrWriteCache) {
		t.Errorf("write cache after none, with a host: %v", err)
	}
	must(t, add(false))
	c.conn.Close()
	eventually(t, "the host is gone", func() bool { l, err := tgt.Controllers(subNQN); return err == nil && len(l) == 0 })
	must(t, add(true))
}
