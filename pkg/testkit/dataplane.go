// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// DataPlaneServer is an opi-dataplane in a process of its own, on a unix socket. Its methods are for
// the test's own goroutine.
type DataPlaneServer struct {
	p      *process
	socket string
}

// BuildDataPlane builds opi-dataplane and returns the program's path. It is removed with the test.
func BuildDataPlane(tb testing.TB) string {
	tb.Helper()
	program := filepath.Join(tb.TempDir(), "opi-dataplane")
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-o", program, "github.com/opi-bridge/opi-bridge/cmd/opi-dataplane")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build opi-dataplane: %v\n%s", err, out)
	}
	return program
}

// DataPlane starts a data plane of the given program and waits until it serves. Further arguments
// are settings, as on its command line.
func DataPlane(tb testing.TB, program string, settings ...string) *DataPlaneServer {
	tb.Helper()
	d := &DataPlaneServer{socket: filepath.Join(SocketDir(tb), "rpc.sock")}
	d.p = newProcess(tb, program, append([]string{"serve", "--rpc-listen", "unix://" + d.socket}, settings...)...)
	d.Start()
	return d
}

// Socket returns the path of its unix socket, which stays the same over restarts.
func (d *DataPlaneServer) Socket() string { return d.socket }

// Start starts it, again after Kill or Stop, and waits until it serves. It then holds nothing.
func (d *DataPlaneServer) Start() {
	d.p.tb.Helper()
	d.p.start()
	d.p.await(func() error {
		conn, err := new(net.Dialer).DialContext(d.p.tb.Context(), "unix", d.socket)
		if err != nil {
			return errors.Join(errNotReady, err)
		}
		return conn.Close()
	})
}

// Kill ends it at once.
func (d *DataPlaneServer) Kill() { d.p.kill() }

// Stop asks it to end and waits for that.
func (d *DataPlaneServer) Stop() error { return d.p.stop() }

// Pause freezes it until Resume: connections stay, nothing is answered. It returns when every thread
// has stopped, as far as the system tells.
func (d *DataPlaneServer) Pause() {
	d.p.tb.Helper()
	d.p.signal(syscall.SIGSTOP)
	d.p.await(func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.p.cmd.Process.Pid))
		if err != nil {
			return nil //nolint:nilerr // no /proc, so nothing can be known
		}
		// The state stands behind the name, which is in parentheses and may hold some itself.
		if _, state, ok := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " "); !ok || state[0] != 'T' {
			return errStillRuns
		}
		return nil
	})
}

var errStillRuns = errors.New("it still runs")

// Resume lets it go on after Pause.
func (d *DataPlaneServer) Resume() { d.p.tb.Helper(); d.p.signal(syscall.SIGCONT) }
