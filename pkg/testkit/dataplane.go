// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
)

// DataPlaneProcess is a running opi-dataplane, or a real SPDK. Its methods are for the test's own goroutine.
type DataPlaneProcess struct {
	p      *process
	socket string
}

// DataPlane builds and starts `opi-dataplane serve` on a unix socket, with further flags, and waits
// until it takes connections.
func DataPlane(tb testing.TB, flags ...string) *DataPlaneProcess {
	tb.Helper()
	d := &DataPlaneProcess{socket: filepath.Join(SocketDir(tb), "spdk.sock")}
	d.p = newProcess(tb, Program(tb, "opi-dataplane"))
	d.StartWith(flags...)
	return d
}

// SPDK starts a real SPDK, which is that program, on a unix socket, with further flags, and waits until it
// takes connections. It has 1 GiB of ordinary memory, and takes one processor for itself, always.
func SPDK(tb testing.TB, program string, flags ...string) *DataPlaneProcess {
	tb.Helper()
	d := &DataPlaneProcess{socket: filepath.Join(SocketDir(tb), "spdk.sock")}
	d.p = newProcess(tb, program, append([]string{
		"--no-huge", "-s", "1024", "-m", "0x1", "--iova-mode", "va", "--no-pci", "-r", d.socket,
	}, flags...)...)
	d.Start()
	return d
}

// Addr returns where its JSON-RPC is, as flags take it: unix:///path.
func (d *DataPlaneProcess) Addr() string { return "unix://" + d.socket }

// Socket returns the path of its JSON-RPC socket.
func (d *DataPlaneProcess) Socket() string { return d.socket }

// Start starts it after Stop or Kill; it has forgotten everything.
func (d *DataPlaneProcess) Start() {
	d.p.tb.Helper()
	d.p.start()
	d.p.await(func() error {
		conn, err := (&net.Dialer{}).DialContext(d.p.tb.Context(), "unix", d.socket)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// StartWith is, for opi-dataplane, Start with other flags than before, which stay.
func (d *DataPlaneProcess) StartWith(flags ...string) {
	d.p.tb.Helper()
	d.p.args = append([]string{"serve", "--rpc-listen", d.Addr()}, flags...)
	d.Start()
}

// Stop ends it in order; the test fails if it ends with an error.
func (d *DataPlaneProcess) Stop() {
	d.p.tb.Helper()
	if err := d.p.stop(); err != nil {
		d.p.tb.Errorf("the data plane ended with %v", err)
	}
}

// Kill ends it at once, as a crash does.
func (d *DataPlaneProcess) Kill() { d.p.kill() }

// Restart kills and starts it.
func (d *DataPlaneProcess) Restart() { d.p.tb.Helper(); d.Kill(); d.Start() }

// Pause freezes it: connections stay, nothing is answered.
func (d *DataPlaneProcess) Pause() { d.p.tb.Helper(); d.p.pause() }

// Resume lets it go on.
func (d *DataPlaneProcess) Resume() { d.p.tb.Helper(); d.p.signal(syscall.SIGCONT) }

// PID returns the number of the process that runs.
func (d *DataPlaneProcess) PID() int { return d.p.cmd.Process.Pid }

// Output returns the last of what it printed.
func (d *DataPlaneProcess) Output() string { return d.p.output.String() }
