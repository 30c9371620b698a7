// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"errors"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

var errNotReady = errors.New("it does not say that it accepts connections")

// RedisServer is a real redis-server with a directory of its own. Its methods are for the test's own
// goroutine.
type RedisServer struct {
	p      *process
	port   int
	frozen bool
}

// Redis starts a redis-server that writes each command to disk before it answers (appendonly yes,
// appendfsync always). Further arguments are settings, as on its command line ("--maxmemory", "1mb");
// of equal ones the last counts.
func Redis(tb testing.TB, settings ...string) *RedisServer {
	tb.Helper()
	program := lookPath(tb, "redis-server")
	r := &RedisServer{port: FreePort(tb)}
	// Not TempDir: that is removed before the cleanup of newProcess has ended the server.
	dir := SocketDir(tb)
	args := append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(r.port), "--dir", dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0",
	}, settings...)
	r.p = newProcess(tb, program, args...)
	r.Start()
	return r
}

// lookPath finds a program, or fails the test and says what to do.
func lookPath(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		tb.Fatalf("%s is missing: `make test` installs it, as does apt-get install redis-server (%v)", name, err)
	}
	return path
}

// Addr returns host:port.
func (r *RedisServer) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// Start starts the server after Stop or Kill and waits until it has loaded its data and answers.
func (r *RedisServer) Start() {
	r.p.tb.Helper()
	// The log says it, which also holds for servers that want a password or speak TLS only.
	const ready = "Ready to accept connections"
	before := r.p.output.written()
	r.p.start()
	r.p.await(func() error {
		if strings.Contains(r.p.output.since(before), ready) {
			return nil
		}
		return errNotReady
	})
}

// Stop ends the server in order.
func (r *RedisServer) Stop() {
	r.p.tb.Helper()
	if err := r.p.stop(); err != nil {
		r.p.tb.Fatalf("redis-server ended with %v", err)
	}
}

// Kill ends the server at once, as a crash does.
func (r *RedisServer) Kill() { r.p.kill() }

// Pause freezes the server: connections stay, nothing is answered.
func (r *RedisServer) Pause() { r.p.tb.Helper(); r.p.pause(); r.frozen = true }

// Resume lets a frozen server go on.
func (r *RedisServer) Resume() { r.p.tb.Helper(); r.p.signal(syscall.SIGCONT); r.frozen = false }

// CLI runs redis-cli and returns what it prints, without the last line end. The test fails if it does.
func (r *RedisServer) CLI(args ...string) string {
	r.p.tb.Helper()
	out, err := r.cli(args...)
	if err != nil {
		r.p.tb.Fatalf("redis-cli %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r *RedisServer) cli(args ...string) (string, error) {
	all := append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(r.port)}, args...)
	out, err := exec.CommandContext(r.p.tb.Context(), "redis-cli", all...).CombinedOutput()
	return strings.TrimRight(string(out), "\n"), err
}
