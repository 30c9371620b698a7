// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestDependentCallsInOneWrite is SPDK's trap: what is asynchronous has not happened for what is
// written with it.
func TestDependentCallsInOneWrite(t *testing.T) {
	_, path := serve(t)
	c := dial(t, path)
	const nqn = `"nqn":"nqn.2016-06.io.spdk:cnode1"`
	c.send(`{"id":1,"method":"bdev_malloc_create","params":{"name":"m0","block_size":512,"num_blocks":64}}` +
		`{"id":2,"method":"nvmf_create_transport","params":{"trtype":"TCP"}}` +
		`{"id":3,"method":"nvmf_create_subsystem","params":{` + nqn + `}}` +
		`{"id":4,"method":"nvmf_subsystem_add_ns","params":{` + nqn + `,"namespace":{"bdev_name":"m0"}}}` +
		`{"id":5,"method":"nvmf_get_subsystems","params":{` + nqn + `}}`)
	answers := make(map[float64]answer)
	var order []float64
	for range 5 {
		a := c.receive()
		id, _ := a.ID.(float64)
		answers[id] = a
		order = append(order, id)
	}
	if got := string(answers[5].Result); !strings.Contains(got, `"namespaces":[]`) {
		t.Errorf("the namespace is there before its turn: %s", got)
	}
	if order[0] != 1 || order[1] != 5 {
		t.Errorf("answers came in the order %v; the synchronous ones, 1 and 5, come first", order)
	}
	if got := string(answers[4].Result); got != "1" {
		t.Errorf("namespace: %s", got)
	}
	if got := string(c.must("nvmf_get_subsystems", "{"+nqn+"}")); !strings.Contains(got, `"bdev_name":"m0"`) {
		t.Errorf("the namespace is not there: %s", got)
	}
}

// TestManyConnections calls on many connections at once, pipelined on each.
func TestManyConnections(t *testing.T) {
	s, path := serve(t)
	const connections, calls = 32, 200
	var all sync.WaitGroup
	for n := range connections {
		c := dial(t, path)
		all.Go(func() {
			var b strings.Builder
			for i := range calls {
				fmt.Fprintf(&b, `{"id":%d,"method":"bdev_null_create","params":{"name":"n%d-%d","block_size":512,"num_blocks":8}}`, i, n, i)
				if i%2 == 1 {
					fmt.Fprintf(&b, `{"id":%d,"method":"bdev_null_delete","params":{"name":"n%d-%d"}}`, calls+i, n, i)
				}
			}
			if _, err := io.WriteString(c.conn, b.String()); err != nil {
				t.Error(err)
				return
			}
			for range calls + calls/2 {
				var a answer
				if err := c.answers.Decode(&a); err != nil {
					t.Error(err)
					return
				}
				if a.Error.Code != 0 {
					t.Errorf("%v: %d %s", a.ID, a.Error.Code, a.Error.Message)
				}
			}
		})
	}
	all.Wait()
	if got := len(s.bdevs.List()); got != connections*calls/2 {
		t.Errorf("%d bdevs are left, want %d", got, connections*calls/2)
	}
}

// TestHostileBytes sends what is no request. Each connection may be closed; the process goes on.
func TestHostileBytes(t *testing.T) {
	_, path := serve(t)
	deep := strings.Repeat(`{"a":`, 200)
	for _, text := range []string{
		"\x00", "{", "}", "]", `{"method":`, `{"id":1,"method":"bdev_malloc_create","params":{"name":"\ud800","block_size":512,"num_blocks":8}}`,
		`{"id":1,"method":"bdev_get_bdevs","params":{"name":"` + strings.Repeat("\\u0041", 30000) + `"}}`,
		`{"id":1,"method":"bdev_get_bdevs","params":` + deep, `{"id":1,"method":"\u0000"}`,
		strings.Repeat("[", 1000), strings.Repeat(" ", 300000), `"` + strings.Repeat("x", 300000),
		`{"id":` + strings.Repeat("9", 100000) + `,"method":"spdk_get_version"}`,
	} {
		c := dial(t, path)
		_, _ = io.WriteString(c.conn, text) // the server may close while we write
		_ = c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = io.Copy(io.Discard, c.conn)
		_ = c.conn.Close()
		dial(t, path).must("spdk_get_version", "")
	}
}

// BenchmarkPipelinedCreate is the floor for what the bridge can do: raw calls, 256 in flight.
func BenchmarkPipelinedCreate(b *testing.B) {
	const inFlight = 256
	for _, kind := range []string{"malloc", "null"} {
		b.Run(kind, func(b *testing.B) {
			_, path := serve(b)
			c := dial(b, path)
			_ = c.conn.SetDeadline(time.Time{})
			window := make(chan struct{}, inFlight)
			done := make(chan error, 1)
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				for i := range b.N {
					window <- struct{}{}
					_, err := fmt.Fprintf(c.conn, `{"jsonrpc":"2.0","id":%d,"method":"bdev_%s_create",`+
						`"params":{"name":"b%d","block_size":4096,"num_blocks":1}}`, i, kind, i)
					if err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
			for range b.N {
				if a := c.receive(); a.Error.Code != 0 {
					b.Fatal(a.Error.Message)
				}
				<-window
			}
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

// BenchmarkDisks makes whole disks (bdev, subsystem, namespace, listener), all calls pipelined: what
// a data plane takes to get everything back after a restart.
func BenchmarkDisks(b *testing.B) {
	const most = 1000 // subsystems
	_, path := serve(b)
	c := dial(b, path)
	_ = c.conn.SetDeadline(time.Time{})
	c.must("nvmf_create_transport", `{"trtype":"TCP"}`)
	port := freePort(b)
	b.ResetTimer()
	for made := 0; made < b.N; made += most {
		n := min(most, b.N-made)
		go func() {
			for i := range n {
				nqn := fmt.Sprintf(`"nqn":"nqn.2016-06.io.spdk:d%d"`, i)
				_, _ = fmt.Fprintf(c.conn, `{"id":1,"method":"bdev_null_create","params":{"name":"d%d","block_size":4096,"num_blocks":256}}`+
					`{"id":2,"method":"nvmf_create_subsystem","params":{%[2]s,"allow_any_host":true}}`+
					`{"id":3,"method":"nvmf_subsystem_add_ns","params":{%[2]s,"namespace":{"bdev_name":"d%[1]d"}}}`+
					`{"id":4,"method":"nvmf_subsystem_add_listener","params":{%[2]s,"listen_address":`+
					`{"trtype":"TCP","traddr":"127.0.0.1","trsvcid":"%[3]s"}}}`, i, nqn, port)
			}
		}()
		for range 4 * n {
			if a := c.receive(); a.Error.Code != 0 {
				b.Fatal(a.Error.Message)
			}
		}
		b.StopTimer()
		for i := range n {
			c.must("nvmf_delete_subsystem", fmt.Sprintf(`{"nqn":"nqn.2016-06.io.spdk:d%d"}`, i))
			c.must("bdev_null_delete", fmt.Sprintf(`{"name":"d%d"}`, i))
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "disks/s")
}

// freePort returns a TCP port that nobody listens on.
func freePort(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

// TestSubsystemsAreCapped: SPDK takes 1,024 subsystems, the discovery subsystem among them.
func TestSubsystemsAreCapped(t *testing.T) {
	_, path := serve(t)
	c := dial(t, path)
	for i := 1; i < maxSubsystems; i++ {
		c.must("nvmf_create_subsystem", fmt.Sprintf(`{"nqn":"nqn.2016-06.io.spdk:s%d"}`, i))
	}
	a := c.call("nvmf_create_subsystem", `{"nqn":"nqn.2016-06.io.spdk:last"}`)
	if a.Error.Code != -32603 || a.Error.Message != "Unable to create subsystem nqn.2016-06.io.spdk:last" {
		t.Errorf("one subsystem too many: %+v", a.Error)
	}
	c.must("nvmf_delete_subsystem", `{"nqn":"nqn.2016-06.io.spdk:s1"}`)
	c.must("nvmf_create_subsystem", `{"nqn":"nqn.2016-06.io.spdk:last"}`)
}

// TestBdevGoesWhileItIsExposed deletes bdevs at the moment at which they become namespaces: nothing
// is left behind, and nothing hangs.
func TestBdevGoesWhileItIsExposed(t *testing.T) {
	s, path := serve(t)
	c := dial(t, path)
	const nqn = `"nqn":"nqn.2016-06.io.spdk:cnode1"`
	c.must("nvmf_create_subsystem", "{"+nqn+"}")
	for i := range 50 {
		c.send(fmt.Sprintf(`{"id":1,"method":"bdev_malloc_create","params":{"name":"m%[1]d","block_size":512,"num_blocks":8}}`+
			`{"id":2,"method":"nvmf_subsystem_add_ns","params":{%[2]s,"namespace":{"bdev_name":"m%[1]d"}}}`+
			`{"id":3,"method":"bdev_malloc_delete","params":{"name":"m%[1]d"}}`, i, nqn))
		for range 3 {
			c.receive()
		}
	}
	for i := range 50 {
		c.must("bdev_malloc_create", fmt.Sprintf(`{"name":"n%d","block_size":512,"num_blocks":8}`, i))
		c.send(fmt.Sprintf(`{"id":2,"method":"nvmf_subsystem_add_ns","params":{%s,"namespace":{"bdev_name":"n%d"}}}`, nqn, i))
		other := dial(t, path)
		other.must("bdev_malloc_delete", fmt.Sprintf(`{"name":"n%d"}`, i))
		c.receive()
		_ = other.conn.Close()
	}
	if got := string(c.must("nvmf_get_subsystems", "{"+nqn+"}")); !strings.Contains(got, `"namespaces":[]`) {
		t.Errorf("namespaces without bdevs: %s", got)
	}
	if left := s.bdevs.List(); len(left) > 0 {
		t.Errorf("%d bdevs are left", len(left))
	}
}
