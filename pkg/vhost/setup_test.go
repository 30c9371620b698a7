// SPDX-License-Identifier: Apache-2.0

package vhost_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/vhost"
)

// logBook keeps what is logged.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// world is a registry and a server.
type world struct {
	t        testing.TB
	registry *bdev.Registry
	server   *vhost.Server
	dir      string
	log      *logBook
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "vh") //nolint:usetesting // a socket's path must be short
	must(t, err)
	w := &world{t: t, registry: bdev.NewRegistry(), dir: dir, log: &logBook{}}
	w.server, err = vhost.NewServer(vhost.Config{Registry: w.registry, Dir: dir, Log: slog.New(slog.NewTextHandler(w.log, nil))})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		must(t, w.server.Close(ctx))
		must(t, w.registry.Close(ctx))
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("the socket directory still has %v (%v)", left, err)
		}
		must(t, os.RemoveAll(dir))
	})
	return w
}

// malloc makes a memory disk.
func (w *world) malloc(name string, size uint64) {
	w.t.Helper()
	_, err := bdev.CreateMalloc(w.registry, bdev.MallocOptions{Name: name, BlockSizeBytes: 512, Blocks: size / 512})
	must(w.t, err)
}

// aio makes a disk on a file, and returns the path of the file.
func (w *world) aio(name string, size int64) string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), name)
	must(w.t, os.WriteFile(file, nil, 0o600))
	must(w.t, os.Truncate(file, size))
	_, err := bdev.CreateAIO(w.registry, bdev.AIOOptions{Name: name, Filename: file, BlockSizeBytes: 512, Fallocate: true})
	must(w.t, err)
	return file
}

// disk makes a disk of 64 MiB that is called what it is.
func (w *world) disk(kind string) {
	w.t.Helper()
	switch kind {
	case "malloc":
		w.malloc(kind, 64<<20)
	case "aio":
		w.aio(kind, 64<<20)
	default:
		_, err := bdev.CreateNull(w.registry, bdev.NullOptions{Name: kind, BlockSizeBytes: 512, Blocks: 64 << 20 / 512})
		must(w.t, err)
	}
}

// controller makes a controller and returns the path of its socket.
func (w *world) controller(name, disk string) string {
	w.t.Helper()
	_, err := w.server.Create(vhost.Options{Name: name, Bdev: disk})
	must(w.t, err)
	return filepath.Join(w.dir, name)
}

// info tells about a controller.
func (w *world) info(name string) vhost.Info {
	w.t.Helper()
	c, err := w.server.Controller(name)
	must(w.t, err)
	return c.Info()
}

// eventually waits for something to become true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// pattern is data that differs from block to block.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i/512)*7 + byte(i)
	}
	return b
}

// want checks how a request ended.
func (r *ioRequest) want(t testing.TB, status byte) *ioRequest {
	t.Helper()
	if r.status != status {
		t.Fatalf("request %s ended with %d, not %d", r, r.status, status)
	}
	return r
}

func (r *ioRequest) String() string {
	return fmt.Sprintf("{type %d sector %d out %d in %d}", r.op, r.sector, len(r.out), r.in)
}
