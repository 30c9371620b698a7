// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{{}, {Log: slog.New(slog.DiscardHandler)}} {
		if _, err := New(cfg); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%+v: %v, want InvalidArgument", cfg, err)
		}
	}
}

// TestLogLevelTakesEffect: the log gets what either of SPDK's two levels lets through.
func TestLogLevelTakesEffect(t *testing.T) {
	var level slog.LevelVar
	level.Set(slog.LevelWarn)
	s, err := New(Config{Log: slog.New(slog.DiscardHandler), Level: &level, Kill: func(os.Signal) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, serveOn(t, s))
	if got := string(c.must("log_get_print_level", "")); got != `"WARNING"` {
		t.Errorf("print level at first: %s", got)
	}
	for _, row := range []struct {
		method, level string
		want          slog.Level
	}{
		{"log_set_level", "ERROR", slog.LevelWarn},
		{"log_set_print_level", "ERROR", slog.LevelError},
		{"log_set_level", "DEBUG", slog.LevelDebug},
		{"log_set_print_level", "INFO", slog.LevelDebug},
		{"log_set_level", "WARNING", slog.LevelInfo},
	} {
		c.must(row.method, `{"level":"`+row.level+`"}`)
		if level.Level() != row.want {
			t.Errorf("%s %s: the level is %v, want %v", row.method, row.level, level.Level(), row.want)
		}
	}
	c.must("log_set_flag", `{"flag":"rpc"}`)
	if got := string(c.must("log_get_flags", "")); got != `{"rpc":true}` {
		t.Errorf("flags: %s", got)
	}
}

func TestKillDeliversTheSignal(t *testing.T) {
	got := make(chan os.Signal, 1)
	s, err := New(Config{
		Log: slog.New(slog.DiscardHandler),
		Kill: func(sig os.Signal) error {
			got <- sig
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, serveOn(t, s))
	c.must("spdk_kill_instance", `{"sig_name":"SIGHUP"}`)
	select {
	case sig := <-got:
		if sig != syscall.SIGHUP {
			t.Errorf("delivered %v, want SIGHUP", sig)
		}
	case <-time.After(patience):
		t.Error("no signal")
	}
}

// TestVersionIsHonest: the text says who answers, the fields which SPDK it follows.
func TestVersionIsHonest(t *testing.T) {
	_, path := serve(t)
	got := string(dial(t, path).must("spdk_get_version", ""))
	if !strings.HasPrefix(got, `{"version":"opi-dataplane `) || !strings.Contains(got, `"major":26,"minor":9`) {
		t.Errorf("version: %s", got)
	}
}

// TestWaitingForABdevEndsWithIt: bdev_get_bdevs with a timeout answers when the bdev appears, and the
// end of the server does not wait for those that never do.
func TestWaitingForABdevEndsWithIt(t *testing.T) {
	_, path := serve(t)
	waiting, other := dial(t, path), dial(t, path)
	waiting.send(`{"id":1,"method":"bdev_get_bdevs","params":{"name":"late","timeout":60000}}` +
		`{"id":2,"method":"bdev_get_bdevs","params":{"name":"never","timeout":18446744073709551615}}`)
	other.must("bdev_null_create", `{"name":"late","block_size":512,"num_blocks":8}`)
	if a := waiting.receive(); a.ID != 1.0 || a.Error.Code != 0 {
		t.Errorf("%v: %+v", a.ID, a.Error)
	}
}

// serveOn serves a data plane on a socket until the test ends, and returns the path.
func serveOn(tb testing.TB, s *Server) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "rpc.sock")
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
		closing, stop := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer stop()
		if err := s.Close(closing); err != nil {
			tb.Error(err)
		}
	})
	return path
}
