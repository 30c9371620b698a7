// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of these tests: long enough for a busy machine.
const patience = 60 * time.Second

// instance is a running opi-dataplane with one connection to it.
type instance struct {
	tb     testing.TB
	socket string
	cmd    *exec.Cmd
	log    *lockedBuffer
	exited chan error
	conn   net.Conn
	answer *json.Decoder
}

// lockedBuffer collects what a process writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a data plane that serves on a socket of that name in dir, and connects to it.
func start(tb testing.TB, dir, name string, flags ...string) *instance {
	tb.Helper()
	i := &instance{tb: tb, socket: filepath.Join(dir, name+".sock"), log: &lockedBuffer{}, exited: make(chan error, 1)}
	i.cmd = exec.CommandContext(tb.Context(), binary(tb), append([]string{"serve", "--rpc-listen", "unix://" + i.socket, "--vhost-dir", dir}, flags...)...)
	i.cmd.Stderr = i.log
	i.cmd.Cancel = func() error { return i.cmd.Process.Signal(syscall.SIGTERM) }
	i.cmd.WaitDelay = patience
	if err := i.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() { i.exited <- i.cmd.Wait() }()
	i.connect()
	tb.Cleanup(i.stop)
	return i
}

// connect opens the connection, once the process serves.
func (i *instance) connect() {
	i.tb.Helper()
	i.conn = i.dial()
	i.answer = json.NewDecoder(i.conn)
}

func (i *instance) dial() net.Conn {
	i.tb.Helper()
	for end := time.Now().Add(patience); ; {
		conn, err := (&net.Dialer{}).DialContext(i.tb.Context(), "unix", i.socket)
		if err == nil {
			return conn
		}
		if time.Now().After(end) {
			i.tb.Fatalf("%s: %v\n%s", i.socket, err, i.log)
		}
		select {
		case err := <-i.exited:
			i.exited <- err
			i.tb.Fatalf("opi-dataplane ended: %v\n%s", err, i.log)
		case <-time.After(5 * time.Millisecond): // the process is starting; nothing tells when it serves
		}
	}
}

// send writes a request.
func (i *instance) send(request []byte) {
	i.tb.Helper()
	_ = i.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := i.conn.Write(request); err != nil {
		i.tb.Fatalf("write: %v\n%s", err, i.log)
	}
}

// receive reads one answer; nil when none comes within the time.
func (i *instance) receive(within time.Duration) json.RawMessage {
	i.tb.Helper()
	_ = i.conn.SetReadDeadline(time.Now().Add(within))
	var answer json.RawMessage
	err := i.answer.Decode(&answer)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err != nil:
		i.tb.Fatalf("read: %v\n%s", err, i.log)
	}
	return answer
}

// kill ends the process as a power cut would.
func (i *instance) kill() {
	i.tb.Helper()
	_ = i.cmd.Process.Kill()
	i.wait()
}

// wait waits for the process to end.
func (i *instance) wait() {
	i.tb.Helper()
	select {
	case err := <-i.exited:
		i.exited <- err
	case <-time.After(patience):
		i.tb.Errorf("opi-dataplane does not end\n%s", i.log)
		_ = i.cmd.Process.Kill()
	}
	_ = i.conn.Close()
}

// stop ends the process with SIGTERM and looks at what it left behind and said.
func (i *instance) stop() {
	i.tb.Helper()
	_ = i.cmd.Process.Signal(syscall.SIGTERM)
	i.wait()
	said := i.log.String()
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(said, bad) {
			i.tb.Errorf("opi-dataplane said %q:\n%s", bad, said)
		}
	}
}
