// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestControllerOptions checks what the options of a remote controller do to its paths: the data plane
// does not tell them, so they are looked for on the wire.
func TestControllerOptions(t *testing.T) {
	e := newEnv(t)
	wire := newTap(t, e.storagePort)
	connect := func(m *pb.NvmeRemoteController, second int) (first, other error) {
		t.Helper()
		base := made{"nvmeRemoteController", "nvmeRemoteControllers/node-1", msg(m)}
		s := &suite{t: t, e: e}
		s.make(base)
		defer s.unmake(base)
		path := func(id string, port int) error {
			p := pathTo(e)
			p.Fabrics.Trsvcid = int64(port)
			_, err := e.client.Create(t.Context(), e.kinds["nvmePath"], base.name+"/nvmePaths/"+resource.Name(id), p)
			return err
		}
		remove := func(id string) {
			if err := e.client.Delete(t.Context(), e.kinds["nvmePath"], base.name+"/nvmePaths/"+resource.Name(id), true); err != nil {
				t.Errorf("deleting path %s: %v", id, err)
			}
		}
		defer remove("path-1")
		if first = path("path-1", wire.port); first == nil && second != 0 {
			defer remove("path-2")
			other = path("path-2", second)
			wire.paths = len(pathsOf(e.there(t)))
		}
		return first, other
	}
	plain := func() *pb.NvmeRemoteController {
		return &pb.NvmeRemoteController{Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH}
	}

	for _, row := range []struct {
		header, data bool
	}{{false, false}, {true, false}, {false, true}, {true, true}} {
		m := plain()
		m.Tcp = &pb.TcpController{Hdgst: row.header, Ddgst: row.data}
		wire.reset()
		if err, _ := connect(m, 0); err != nil {
			t.Fatalf("digests %+v: %v", row, err)
		}
		for _, digests := range wire.digests() {
			if digests&1 != 0 != row.header || digests&2 != 0 != row.data {
				t.Errorf("digests %+v: the host asked for %02b", row, digests)
			}
		}
	}
	m := plain()
	m.IoQueuesCount = 1
	wire.reset()
	if err, _ := connect(m, 0); err != nil || len(wire.digests()) != 2 {
		t.Errorf("one I/O queue: %v, %d connections (the admin queue has one too)", err, len(wire.digests()))
	}
	for mode, wantErr := range map[pb.NvmeMultipath]bool{
		pb.NvmeMultipath_NVME_MULTIPATH_DISABLE: true, pb.NvmeMultipath_NVME_MULTIPATH_FAILOVER: false, pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH: false,
	} {
		m := plain()
		m.Multipath = mode
		first, other := connect(m, e.otherPort)
		if first != nil || (other != nil) != wantErr {
			t.Errorf("%s: first path %v, second %v", mode, first, other)
		}
		if wantErr && status.Code(other) != codes.FailedPrecondition {
			t.Errorf("%s: second path %v", mode, other)
		}
		if !wantErr && wire.paths != 2 {
			t.Errorf("%s: %d paths", mode, wire.paths)
		}
	}
}

func pathsOf(there map[driver.Key]driver.Object) []*driver.Path {
	var all []*driver.Path
	for _, o := range there {
		if p, ok := o.(*driver.Path); ok {
			all = append(all, p)
		}
	}
	return all
}

// tap passes TCP connections on to a port and remembers how each began.
type tap struct {
	port  int
	paths int

	mu sync.Mutex
	// guarded by mu: the DGST byte of each ICReq (NVMe/TCP Transport Specification, figure 26).
	asked []byte
}

func newTap(t *testing.T, to int) *tap {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(testkit.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	w := &tap{port: l.Addr().(*net.TCPAddr).Port}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				all.Go(func() { w.pass(ctx, conn, to) })
			}
		}
	})
	t.Cleanup(func() { cancel(); _ = l.Close(); all.Wait() })
	return w
}

// icReqBytes is the length of an ICReq, and dgstAt where its digests stand.
const (
	icReqBytes = 128
	dgstAt     = 11
)

// pass carries one connection until either end closes it, or ctx ends.
func (w *tap) pass(ctx context.Context, from net.Conn, port int) {
	to, err := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		_ = from.Close()
		return
	}
	closeBoth := func() { _ = from.Close(); _ = to.Close() }
	stop := context.AfterFunc(ctx, closeBoth)
	defer stop()
	var back sync.WaitGroup
	back.Go(func() { _, _ = io.Copy(from, to); closeBoth() })
	first := make([]byte, icReqBytes)
	if _, err := io.ReadFull(from, first); err == nil {
		w.mu.Lock()
		w.asked = append(w.asked, first[dgstAt])
		w.mu.Unlock()
		if _, err := to.Write(first); err == nil {
			_, _ = io.Copy(to, from)
		}
	}
	closeBoth()
	back.Wait()
}

func (w *tap) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = nil
}

func (w *tap) digests() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]byte{}, w.asked...)
}
