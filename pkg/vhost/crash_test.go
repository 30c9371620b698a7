// SPDX-License-Identifier: Apache-2.0

package vhost_test

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/vhost"
)

// backendEnv tells a process of the test binary to be a back end, on a file in a directory.
const backendEnv = "OPI_VHOST_TEST_BACKEND"

// runBackend serves the file "disk" on the socket "c" until its standard input ends or it is killed.
func runBackend(dir string) error {
	r := bdev.NewRegistry()
	if _, err := bdev.CreateAIO(r, bdev.AIOOptions{Name: "d", Filename: filepath.Join(dir, "disk"), BlockSizeBytes: 512}); err != nil {
		return err
	}
	s, err := vhost.NewServer(vhost.Config{Registry: r, Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if _, err := s.Create(vhost.Options{Name: "c", Bdev: "d"}); err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString("ready\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// startBackend starts a back end in a process of its own.
func startBackend(t testing.TB, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), backendEnv+"="+dir)
	cmd.Stderr = os.Stderr
	_, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the back end says %q (%v)", line, err)
	}
	return cmd
}

// TestBackEndKilled kills the back end with requests in flight, time and again. Each request is
// answered once, and the disk holds what was written last.
func TestBackEndKilled(t *testing.T) {
	dir, err := os.MkdirTemp("", "vh") //nolint:usetesting // a socket's path must be short
	must(t, err)
	defer func() { must(t, os.RemoveAll(dir)) }()
	must(t, os.WriteFile(filepath.Join(dir, "disk"), make([]byte, 8<<20), 0o600))
	g := newGuest(t, guestOptions{inflight: true, eventIdx: true, indirect: true, regions: 2, slotBytes: 4096})
	q := g.queues[0]
	const blocks = 1024
	var generation [blocks]byte
	busy := map[*ioRequest]int{}
	taken := map[int]bool{}
	next := 0
	for round := range 6 {
		cmd := startBackend(t, dir)
		l := g.connect(filepath.Join(dir, "c"))
		for range 500 * (round + 1) {
			from := q.availIdx
			for len(busy) < 64 {
				block := next * 31 % blocks
				next++
				if taken[block] {
					continue
				}
				generation[block]++
				r := &ioRequest{op: opOut, sector: uint64(block) * 8, out: pattern(4096, generation[block])}
				busy[r], taken[block] = block, true
				q.post(r)
			}
			q.notify(from)
			_, r := q.reap()
			r.want(t, ok)
			delete(taken, busy[r])
			delete(busy, r)
		}
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		must(t, l.sock.Close())
		for q.usedIdx() != q.lastUse { // answered before the end
			_, r := q.take()
			r.want(t, ok)
			delete(taken, busy[r])
			delete(busy, r)
		}
	}
	cmd := startBackend(t, dir)
	g.connect(filepath.Join(dir, "c"))
	for len(busy) > 0 {
		_, r := q.reap()
		r.want(t, ok)
		delete(busy, r)
	}
	for block, gen := range generation {
		r := q.do(&ioRequest{op: opIn, sector: uint64(block) * 8, in: 4096}).want(t, ok)
		want := make([]byte, 4096)
		if gen > 0 {
			want = pattern(4096, gen)
		}
		if !bytes.Equal(r.data, want) {
			t.Errorf("block %d is not generation %d", block, gen)
		}
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
}
