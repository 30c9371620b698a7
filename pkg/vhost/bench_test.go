// SPDX-License-Identifier: Apache-2.0

package vhost_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// BenchmarkRequests drives random 4 KiB reads and writes and large sequential ones from a front end in
// the same process: it shares the cores with the back end. b.N counts requests.
func BenchmarkRequests(b *testing.B) {
	for _, device := range []string{"malloc", "null", "aio"} {
		for _, run := range []struct {
			name  string
			op    uint32
			bytes int
		}{{"read4k", opIn, 4096}, {"write4k", opOut, 4096}, {"read128k", opIn, 128 << 10}, {"write128k", opOut, 128 << 10}} {
			for _, depth := range []int{1, 32, 128} {
				b.Run(fmt.Sprintf("%s/%s/depth=%d", device, run.name, depth), func(b *testing.B) {
					w := newWorld(b)
					w.disk(device)
					g := newGuest(b, guestOptions{size: 256, slotBytes: run.bytes, indirect: true, eventIdx: true, seal: true, inflight: true})
					g.connect(w.controller("c", device))
					b.SetBytes(int64(run.bytes))
					b.ReportAllocs()
					b.ResetTimer()
					drive(g.queues[0], run.op, run.bytes, depth, b.N)
				})
			}
		}
	}
}

// TestNoAllocationPerRequest counts what is allocated over many requests, which does not depend on how
// many there are. A disk on a file starts goroutines now and then.
func TestNoAllocationPerRequest(t *testing.T) {
	for _, device := range []string{"malloc", "aio"} {
		for name, op := range map[string]uint32{"read": opIn, "write": opOut} {
			w := newWorld(t)
			w.disk(device)
			g := newGuest(t, guestOptions{size: 256, slotBytes: 4096, indirect: true, eventIdx: true, seal: true, inflight: true})
			g.connect(w.controller("c", device))
			const requests, few = 2000, 700
			for _, depth := range []int{1, 32} {
				turn := func() { drive(g.queues[0], op, 4096, depth, requests) }
				turn() // all that is used again is there now
				if got := testing.AllocsPerRun(1, turn); got > few {
					t.Errorf("%s of %s at depth %d: %.0f allocations for %d requests", name, device, depth, got, requests)
				}
			}
		}
	}
}

// BenchmarkSocket drives another back end, the socket of which is in OPI_VHOST_SOCKET (its disk has at
// least 64 MiB), or ours in a process of its own, on a file. Both then compete with the front end alike.
// The depth is that of all queues together.
func BenchmarkSocket(b *testing.B) {
	path := os.Getenv("OPI_VHOST_SOCKET")
	if path == "" {
		dir := b.TempDir()
		must(b, os.WriteFile(filepath.Join(dir, "disk"), make([]byte, 64<<20), 0o600))
		cmd := startBackend(b, dir)
		defer func() {
			must(b, cmd.Process.Kill())
			_ = cmd.Wait()
		}()
		path = filepath.Join(dir, "c")
	}
	for _, bytes := range []int{4096, 128 << 10} {
		for _, op := range []uint32{opIn, opOut} {
			for _, queues := range []int{1, 4} {
				for _, depth := range []int{1, 32, 128} {
					if depth < queues {
						continue
					}
					b.Run(fmt.Sprintf("%dk/type=%d/queues=%d/depth=%d", bytes>>10, op, queues, depth), func(b *testing.B) {
						g := newGuest(b, guestOptions{
							queues: queues, size: 256, slotBytes: bytes, indirect: true, eventIdx: true, seal: true, stranger: true,
						})
						l := g.connect(path)
						defer func() { must(b, l.sock.Close()) }()
						b.SetBytes(int64(bytes))
						b.ResetTimer()
						var all sync.WaitGroup
						for _, q := range g.queues {
							all.Go(func() { drive(q, op, bytes, depth/queues, max(b.N/queues, 1)) })
						}
						all.Wait()
					})
				}
			}
		}
	}
}

// drive keeps depth requests of one kind in flight, large ones in order and others here and there.
// Their memory is filled in once.
func drive(q *virtqueue, op uint32, bytes, depth, count int) {
	const diskBytes = 64 << 20
	requests := make([]ioRequest, depth)
	blocks := uint64(diskBytes / bytes)
	step := uint64(7919)
	if bytes > 4096 {
		step = 1
	}
	posted, done := 0, 0
	from := q.availIdx
	for i := range min(depth, count) {
		r := &requests[i]
		r.op, r.sector = op, uint64(i)*uint64(bytes)/512
		if op == opIn {
			r.in = bytes
		} else {
			r.out = make([]byte, bytes)
		}
		q.post(r)
		posted++
	}
	q.notify(from)
	for done < count {
		if !q.await(awaitBound) {
			q.g.t.Errorf("queue %d: no answer", q.index)
			return
		}
		from = q.availIdx
		for q.usedIdx() != q.lastUse {
			head := q.retake()
			done++
			if posted < count {
				q.repost(head, (uint64(posted)+uint64(q.index)*1031)*step%blocks*uint64(bytes)/512)
				posted++
			}
		}
		q.notify(from)
	}
}
