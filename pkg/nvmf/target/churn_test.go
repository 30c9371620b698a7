// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

// TestChurn changes a subsystem in every way while hosts come, read, write and go. Nothing is
// expected of the hosts' luck, only that the target stays whole and ends.
func TestChurn(t *testing.T) {
	tgt := newTarget(t, target.TransportOptions{})
	at := export(t, tgt, malloc(t, "m0", 512, 4096))
	other := listen(t, tgt, subNQN, target.Address{TRADDR: "127.0.0.1", TRSVCID: "0"})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	tolerated := func(err error) {
		t.Helper()
		switch errdefs.ClassOf(err) {
		case "", errdefs.NotFound, errdefs.AlreadyExists, errdefs.OutcomeUnknown, errdefs.FailedPrecondition:
		default:
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	again := func(f func(i int)) {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				f(i)
			}
		})
	}
	for n := range uint8(3) {
		again(func(i int) {
			where := at
			if i%2 == 1 {
				where = other
			}
			churnHost(where, n)
		})
	}
	d := malloc(t, "m1", 512, 4096)
	again(func(int) {
		released := make(chan struct{})
		id, err := tgt.AddNamespace(subNQN, target.NamespaceConfig{Device: d, NSID: 2, WriteCache: true, Released: func() { close(released) }})
		tolerated(err)
		if err != nil {
			return
		}
		tolerated(tgt.NamespaceResized(subNQN, id))
		tolerated(tgt.RemoveNamespace(t.Context(), subNQN, id))
		<-released
	})
	again(func(int) {
		tolerated(tgt.RemoveListener(t.Context(), subNQN, other))
		_, err := tgt.AddListener(t.Context(), subNQN, target.ListenerConfig{Address: other})
		tolerated(err)
	})
	again(func(int) {
		tolerated(tgt.AddHost(subNQN, target.HostConfig{NQN: hostNQN}))
		tolerated(tgt.RemoveHost(t.Context(), subNQN, hostNQN))
		_, err := tgt.Controllers(subNQN)
		tolerated(err)
		_, err = tgt.Qpairs(subNQN)
		tolerated(err)
		tgt.Subsystems()
		tgt.Stats()
	})
	wg.Wait()
	if err := tgt.DeleteSubsystem(t.Context(), subNQN); err != nil && !errors.Is(err, target.ErrNoSubsystem) {
		t.Error(err)
	}
	must(t, d.Close())
}

// stop ends one life of a host in churnHost.
type stop struct{ testing.TB }

func (stop) Helper()               {}
func (stop) Cleanup(func())        {}
func (stop) Fatal(...any)          { panic(stop{}) }
func (stop) Fatalf(string, ...any) { panic(stop{}) }
func (stop) Error(...any)          {}
func (stop) Errorf(string, ...any) {}

// churnHost connects, does some I/O, and leaves in one manner or another. Whatever fails ends it.
func churnHost(at target.Address, manner uint8) {
	var conns []*client
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(stop); !ok {
				panic(r)
			}
		}
		for _, c := range conns {
			c.conn.Close()
		}
	}()
	o := options{dgst: manner}
	a := dial(stop{}, at, o)
	conns = append(conns, a)
	if got := a.connect(0, nvme.CNTLIDDynamic); !got.status.OK() {
		return
	}
	_ = a.propertySet(nvme.PropertyCC, uint64(nvme.MakeCC()))
	a.watch()
	q := dial(stop{}, at, o)
	conns = append(conns, q)
	if got := q.connect(1, a.cntlid); !got.status.OK() {
		return
	}
	data := random(4096)
	for i := range uint64(20) {
		nsid := uint32(i%2) + 1
		q.do(q.rw(nvme.IOWrite, nsid, 8*i, 8), data, i%3 == 0)
		q.read(nsid, 8*i, 8, 4096)
	}
	if manner == 1 {
		_ = a.propertySet(nvme.PropertyCC, 0)
	}
}
