// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// programs builds the programs and returns their directory.
func programs(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../cmd/opi-bridge", "../../cmd/opi-dataplane")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the programs: %v\n%s", err, out)
	}
	return bin
}

// shortDir returns a directory whose path leaves room for the names of sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "opi-test-") //nolint:usetesting // t.TempDir holds the test's name, too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(dir, "*", "*.log"))
			for _, log := range logs {
				t.Logf("%s:\n%s", log, command{log: log}.tail(40))
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestSecondStartFindsTheSameDisk(t *testing.T) {
	l, err := freeLayout(t.Context(), programs(t), shortDir(t))
	if err != nil {
		t.Fatal(err)
	}
	host := hostDisk(l)
	var first identity
	running(t, l, func() {
		if first, err = host.identify(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := host.write(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	running(t, l, func() {
		second, err := host.identify(t.Context())
		if err != nil || second != first {
			t.Errorf("the disk was %+v, after the second start it is %+v (%v)", first, second, err)
		}
		if _, err := host.verify(t.Context()); err != nil {
			t.Errorf("the data after the second start: %v", err)
		}
	})
}

func TestDemo(t *testing.T) {
	var out strings.Builder
	err := demo(t.Context(), programs(t), &out)
	t.Log("\n" + out.String())
	if err != nil {
		t.Error(err)
	}
}

// running calls check while the nodes run as `make run` runs them.
func running(t *testing.T, l layout, check func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := &watchedText{}
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- foreground(ctx, l, out)
	}()
	// Also when check ends the test: nothing outlives it.
	defer func() {
		cancel()
		for range ended {
		}
	}()
	err := eventually(t.Context(), 2*time.Minute, func(context.Context) error {
		select {
		case err := <-ended:
			return fmt.Errorf("%w: %w", errEnded, err)
		default:
		}
		if text := out.String(); !strings.Contains(text, "Ctrl-C stops everything") {
			return fmt.Errorf("so far: %s", text)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("starting the nodes: %v", err)
	}
	check()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("stopping the nodes: %v", err)
	}
	for _, name := range []string{"dpu opi-bridge", "dpu opi-dataplane", "storage opi-bridge", "storage opi-dataplane"} {
		if !strings.Contains(out.String(), "stopped "+name) {
			t.Errorf("%s was not stopped:\n%s", name, out.String())
		}
	}
}

// watchedText is a text that one goroutine writes and another reads.
type watchedText struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (w *watchedText) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watchedText) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
