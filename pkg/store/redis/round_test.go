// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// wire lies before a server and keeps back what contains a word, as the buffers of sockets do while a
// server is busy: it arrives in the end, though the sender has long hung up.
type wire struct {
	listener net.Listener
	server   string
	word     []byte
	release  chan struct{} // closed to let through what is kept back
	executed chan struct{} // closed when the server has answered to that
	running  sync.WaitGroup
}

func newWire(t *testing.T, server, word string) *wire {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, server: server, word: []byte(word), release: make(chan struct{}), executed: make(chan struct{})}
	w.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			w.running.Go(func() { w.carry(client) })
		}
	})
	t.Cleanup(w.running.Wait)
	t.Cleanup(func() { _ = l.Close() })
	return w
}

// carry forwards one connection until both ends have closed it.
func (w *wire) carry(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.DialTimeout("tcp", w.server, time.Minute)
	if err != nil {
		return
	}
	kept := make(chan struct{})
	var answers sync.WaitGroup
	answers.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-kept:
				close(w.executed)
				kept = nil
			default:
			}
			_, _ = client.Write(buf[:n])
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if n > 0 {
			if bytes.Contains(buf[:n], w.word) {
				<-w.release
				close(kept)
			}
			_, _ = server.Write(buf[:n])
		}
		if err != nil {
			break
		}
	}
	if tcp, ok := server.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, client)
	answers.Wait()
	_ = server.Close()
}

// TestNothingComesLate: what a load has not shown of a commit that nobody got an answer to does not
// happen afterwards, while commits that are waited for go on.
func TestNothingComesLate(t *testing.T) {
	server := testkit.Redis(t)
	w := newWire(t, server.Addr(), "late-document")
	s := use(t, redis.Config{URL: "redis://" + w.listener.Addr().String()})
	other := use(t, redis.Config{URL: "redis://" + server.Addr()})
	for _, st := range []*redis.Store{s, other} {
		if got := names(t, st); got != "" {
			t.Fatalf("the store holds %q", got)
		}
	}
	if err := commit(t, s, doc("first", `1`)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.Commit(ctx, []store.Write{doc("late-document", `1`)}); errdefs.ClassOf(err) != errdefs.OutcomeUnknown {
		t.Fatalf("commit: %v, want outcome unknown", err)
	}
	if got := names(t, s); got != "first" {
		t.Errorf("the store holds %q", got)
	}
	close(w.release)
	<-w.executed
	if got := names(t, s); got != "first" {
		t.Errorf("the store holds %q after the commit that was late", got)
	}
	// Both of them have been told of no round since they began.
	for _, st := range []*redis.Store{other, s} {
		if err := commit(t, st, doc("after-"+map[bool]string{true: "mine", false: "other"}[st == s], `1`)); err != nil {
			t.Error(err)
		}
	}
	if got := names(t, other); got != "after-mine after-other first" {
		t.Errorf("the store holds %q in the end", got)
	}
}
