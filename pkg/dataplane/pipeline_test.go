// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"io"
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
