// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"os/exec"
	"syscall"
	"testing"
)

// CommandProcess is a running program that is not one of ours. Its methods are for the test's own
// goroutine, except Output and Ended.
type CommandProcess struct{ p *process }

// Command starts a program from the search path. It is killed with the test, and the last of its
// output is shown if the test failed. The test fails with the remedy if the program is not there.
func Command(tb testing.TB, remedy, name string, args ...string) *CommandProcess {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		tb.Fatalf("%v: %s", err, remedy)
	}
	c := &CommandProcess{newProcess(tb, path, args...)}
	c.p.start()
	return c
}

// Pause freezes it, and Resume lets it go on.
func (c *CommandProcess) Pause() { c.p.tb.Helper(); c.p.pause() }

// Resume lets it go on after Pause.
func (c *CommandProcess) Resume() { c.p.tb.Helper(); c.p.signal(syscall.SIGCONT) }

// Kill ends it at once and waits until it is gone.
func (c *CommandProcess) Kill() { c.p.kill() }

// Ended is closed when the program has ended.
func (c *CommandProcess) Ended() <-chan struct{} { return c.p.done }

// Output returns the last of what it printed.
func (c *CommandProcess) Output() string { return c.p.output.String() }
