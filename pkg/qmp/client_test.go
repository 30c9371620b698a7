// SPDX-License-Identifier: Apache-2.0

package qmp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/qmp"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// happenings notes what a client tells of its connection.
type happenings struct {
	ready  chan struct{}
	down   chan error
	events chan qmp.Event
	greet  chan qmp.Version
}

// run runs a client until the test ends.
func run(t *testing.T, socket string, change func(*qmp.Config)) (*qmp.Client, happenings) {
	t.Helper()
	h := happenings{make(chan struct{}, 100), make(chan error, 1000), make(chan qmp.Event, 1000), make(chan qmp.Version, 100)}
	cfg := qmp.Config{
		Network: "unix", Address: socket, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		OnUp: func(_ context.Context, c *qmp.Conn) error {
			h.greet <- c.Version()
			return nil
		},
		OnReady: func() { h.ready <- struct{}{} },
		OnDown: func(err error) {
			select {
			case h.down <- err:
			default:
			}
		},
		OnEvent: func(e qmp.Event) { h.events <- e },
	}
	if change != nil {
		change(&cfg)
	}
	c, err := qmp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return c, h
}

// wait receives within a bound.
func wait[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("it never came: %s", what)
		panic("not reached")
	}
}

func TestQEMU(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(testkit.SocketDir(t), "qmp")
	start := func() *testkit.CommandProcess {
		return testkit.Command(t, "install Debian's qemu-system-x86", "qemu-system-x86_64",
			"-nodefaults", "-no-user-config", "-display", "none", "-S", "-m", "16M", "-machine", "pc,accel=tcg", "-qmp", "unix:"+socket+",server=on,wait=off")
	}
	process := start()
	c, h := run(t, socket, nil)
	version := wait(t, "the greeting", h.greet)
	wait(t, "the connection", h.ready)
	if !version.AtLeast(2, 0) || version.AtLeast(version.Major+1, 0) || version.AtLeast(version.Major, version.Minor+1) || !strings.HasPrefix(version.String(), fmt.Sprint(version.Major, ".")) {
		t.Errorf("version %v", version)
	}
	var status struct{ Status string }
	if err := c.Execute(t.Context(), "query-status", nil, &status); err != nil || status.Status != "prelaunch" {
		t.Errorf("%+v, %v", status, err)
	}
	for command, class := range map[string]string{"no-such-command": qmp.ClassCommandNotFound, "device_del": qmp.ClassDeviceNotFound, "device_add": qmp.ClassGeneric} {
		err := c.Execute(t.Context(), command, map[string]any{"id": "nosuch", "driver": "nosuch"}, nil)
		if command == "device_del" {
			err = c.Execute(t.Context(), command, map[string]any{"id": "nosuch"}, nil)
		}
		if r := qmp.Refusal(err); r == nil || r.Class != class || !strings.Contains(err.Error(), command) {
			t.Errorf("%s: %v", command, err)
		}
	}
	// Many at once, each with its own answer, events in between.
	var calls sync.WaitGroup
	for i := range 64 {
		calls.Go(func() {
			var got []struct{ Name string }
			path := "/machine"
			if i%2 == 0 {
				path = "/objects"
			}
			if err := c.Execute(t.Context(), "qom-list", map[string]any{"path": path}, &got); err != nil || (len(got) > 3) != (i%2 == 1) {
				t.Errorf("%s: %v, %v", path, got, err)
			}
		})
	}
	if err := c.Execute(t.Context(), "system_reset", nil, nil); err != nil {
		t.Error(err)
	}
	calls.Wait()
	if e := wait(t, "an event", h.events); e.Name != "RESET" || !json.Valid(e.Data) {
		t.Errorf("%+v", e)
	}
	var number int
	if err := c.Execute(t.Context(), "query-status", nil, &number); !errors.Is(err, errdefs.Internal) {
		t.Errorf("a result of another shape: %v", err)
	}
	if err := c.Execute(t.Context(), "query-status", func() {}, nil); !errors.Is(err, errdefs.Internal) {
		t.Errorf("arguments that cannot be written: %v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Execute(over, "query-status", nil, nil); !errors.Is(err, context.Canceled) || errors.Is(err, errdefs.OutcomeUnknown) {
		t.Errorf("%v", err)
	}

	process.Kill()
	wait(t, "the end of the connection", h.down)
	if err := c.Execute(t.Context(), "query-status", nil, nil); !errors.Is(err, errdefs.Unavailable) {
		t.Errorf("%v", err)
	}
	start()
	wait(t, "the connection", h.ready)
	if err := c.Execute(t.Context(), "query-status", nil, nil); err != nil {
		t.Error(err)
	}
}

// peer answers each connection to a socket as a test wants.
func peer(t *testing.T, talk func(net.Conn)) (socket string) {
	t.Helper()
	socket = filepath.Join(testkit.SocketDir(t), "peer")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var talks sync.WaitGroup
	talks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			talks.Go(func() {
				talk(conn)
				conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		talks.Wait()
	})
	return socket
}

const greeting = `{"QMP": {"version": {"qemu": {"major": 10, "minor": 1, "micro": 2}, "package": "p"}, "capabilities": []}}` + "\r\n"

// agree greets and ends the negotiation.
func agree(conn net.Conn) *bufio.Reader {
	from := bufio.NewReader(conn)
	_, _ = io.WriteString(conn, greeting)
	_, _ = from.ReadString('\n')
	_, _ = io.WriteString(conn, `{"return": {}, "id": 1}`+"\r\n")
	return from
}

// TestPeersThatAreNone meets what is no QEMU, or says what QEMU never would.
func TestPeersThatAreNone(t *testing.T) {
	t.Parallel()
	for what, talk := range map[string]func(net.Conn){
		"no greeting": func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
		"is no QMP":   func(conn net.Conn) { _, _ = io.WriteString(conn, "220 mail.example\r\n") },
		"is this the socket": func(conn net.Conn) {
			_, _ = io.WriteString(conn, `{"return": {}}`+"\r\n")
		},
		"closed by QEMU": func(conn net.Conn) { agree(conn) },
		"too long": func(conn net.Conn) {
			agree(conn)
			_, _ = io.WriteString(conn, `{"event": "`+strings.Repeat("X", 1<<16))
		},
		"could not read a command": func(conn net.Conn) {
			from := agree(conn)
			_, _ = io.WriteString(conn, `{"error": {"class": "GenericError", "desc": "JSON parse error"}}`+"\r\n")
			_, _ = from.ReadString('\n')
		},
		"refuses the negotiation": func(conn net.Conn) {
			from := bufio.NewReader(conn)
			_, _ = io.WriteString(conn, greeting)
			_, _ = from.ReadString('\n')
			_, _ = io.WriteString(conn, `{"error": {"class": "CommandNotFound", "desc": "refuses the negotiation"}, "id": 1}`+"\r\n")
			_, _ = io.Copy(io.Discard, from)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, h := run(t, peer(t, talk), func(c *qmp.Config) { c.GreetTimeout, c.MaxMessageBytes = 200*time.Millisecond, 1<<14 })
			for range 100 {
				if err := wait(t, what, h.down); strings.Contains(err.Error(), what) {
					return
				} else if !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "pipe") {
					t.Fatalf("it ended because: %v", err)
				}
			}
		})
	}
}

// TestAnswersThatDoNotCome leaves nobody waiting.
func TestAnswersThatDoNotCome(t *testing.T) {
	t.Parallel()
	hangUp := make(chan struct{})
	c, h := run(t, peer(t, func(conn net.Conn) {
		from := agree(conn)
		// What nobody has asked for is left alone; so is the answer to a question that was given up.
		_, _ = io.WriteString(conn, `{"return": {}, "id": 99}`+"\r\n"+`{"event": "POWERDOWN"}`+"\r\n")
		_, _ = from.ReadString('\n')
		<-hangUp
	}), nil)
	if v := wait(t, "the greeting", h.greet); !v.AtLeast(10, 1) || v.AtLeast(10, 2) || v.Package != "p" {
		t.Errorf("version %+v", v)
	}
	wait(t, "the connection", h.ready)
	wait(t, "the event", h.events)
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Execute(soon, "query-status", nil, nil); !errors.Is(err, errdefs.OutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- c.Execute(t.Context(), "query-status", nil, nil) }()
	close(hangUp)
	if err := wait(t, "the end of the question", waiting); !errors.Is(err, errdefs.OutcomeUnknown) && !errors.Is(err, errdefs.Unavailable) {
		t.Errorf("%v", err)
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	for _, cfg := range []qmp.Config{
		{},
		{Network: "udp", Address: "/x", Log: log},
		{Network: "unix", Log: log},
		{Network: "unix", Address: "/x"},
		{Network: "unix", Address: "/x", Log: log, MinBackoff: -1},
		{Network: "unix", Address: "/x", Log: log, MaxMessageBytes: -1},
	} {
		if _, err := qmp.New(cfg); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
