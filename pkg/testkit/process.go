// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// maxOutputBytes bounds what is kept of a process's output: the last that it wrote.
const maxOutputBytes = 256 << 10

// process is a child that can be ended, killed, frozen and started again. It is for the test's own
// goroutine, except output.
type process struct {
	tb     testing.TB
	name   string
	args   []string
	output *tail

	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	err  error         // of Wait; read after done
}

// newProcess prepares a child. It is ended with the test, and its output shown if the test failed.
func newProcess(tb testing.TB, name string, args ...string) *process {
	p := &process{tb: tb, name: name, args: args, output: &tail{}}
	dir := tb.ArtifactDir() // before Cleanup: the directory is to be there when that runs
	tb.Cleanup(func() {
		p.kill()
		text := p.output.String()
		if _, race, found := strings.Cut(text, "WARNING: DATA RACE"); found {
			tb.Errorf("%s had a data race%s", p, firstLines(race, raceLines))
		}
		if tb.Failed() {
			p.show(dir, text)
		}
	})
	return p
}

// show prints the end of the output. All of it is kept where "go test -artifacts" keeps things: in
// the test's own output it would bury what the test says, which is printed after it for a subtest.
func (p *process) show(dir, text string) {
	kept := "go test -artifacts keeps all of it"
	if err := keep(dir, filepath.Base(p.name), text); err != nil {
		kept = err.Error()
	}
	p.tb.Logf("the last output of %s (%s):\n%s", p, kept, lastLines(text, shownLines))
}

// keep writes a file of that name, with a number so that several processes of one program do not
// share it.
func keep(dir, name, text string) error {
	f, err := os.CreateTemp(dir, name+"-*.log")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// raceLines and shownLines bound what a failed test prints of a process's output.
const (
	raceLines  = 50
	shownLines = 20
)

// firstLines returns at most n lines of the beginning.
func firstLines(text string, n int) string {
	lines := strings.SplitAfterN(text, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "")
}

// lastLines returns at most n lines of the end.
func lastLines(text string, n int) string {
	lines := strings.SplitAfter(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

func (p *process) String() string { return p.name + " " + strings.Join(p.args, " ") }

// start starts the child. The test fails if that is not possible.
func (p *process) start() {
	p.tb.Helper()
	if p.running() {
		p.tb.Fatalf("%s runs already", p)
	}
	// No context: the cleanup ends the child, after cleanups of the test that still need it.
	p.cmd = exec.Command(p.name, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = childAttributes()
	p.done = make(chan struct{})
	started := make(chan error)
	go func() {
		// The kernel ties "kill the child with its parent" to the thread that started it, so that
		// thread stays until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		p.tb.Fatalf("start %s: %v", p, err)
	}
}

// running reports whether the child was started and has not ended.
func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// await waits until ready returns nil. It fails the test at once when the child ends before that.
func (p *process) await(ready func() error) {
	p.tb.Helper()
	var ended error
	err := eventually(p.tb.Context(), func() error {
		if !p.running() {
			ended = fmt.Errorf("%s ended before it was ready: %w", p, p.err)
			return nil
		}
		return ready()
	})
	if err = errors.Join(ended, err); err != nil {
		p.tb.Fatalf("%s is not ready: %v\n%s", p, err, p.output.String())
	}
}

// signal sends a signal to a running child.
func (p *process) signal(s syscall.Signal) {
	p.tb.Helper()
	if !p.running() {
		p.tb.Fatalf("%s does not run", p)
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		p.tb.Fatalf("send %v to %s: %v", s, p, err)
	}
}

// pause freezes the child and waits until it stands still.
func (p *process) pause() {
	p.tb.Helper()
	p.signal(syscall.SIGSTOP)
	if err := eventually(p.tb.Context(), func() error { return stands(p.cmd.Process.Pid) }); err != nil {
		p.tb.Fatalf("%s does not stand still: %v", p, err)
	}
}

// stop asks the child to end and waits for that. It returns how the child ended.
func (p *process) stop() error {
	p.tb.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
		p.tb.Fatalf("%s did not end within %v after SIGTERM", p, patience)
	}
	return p.err
}

// kill ends the child at once, frozen or not, and waits until it is gone.
func (p *process) kill() {
	if !p.running() {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// tail keeps the last bytes that were written. It is safe for use by several goroutines.
type tail struct {
	mu        sync.Mutex
	buf       bytes.Buffer // guarded by mu
	forgotten int          // bytes that were written before those of buf, guarded by mu
}

// Write appends b and forgets what is too old.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(b)
	if over := t.buf.Len() - maxOutputBytes; over > 0 {
		t.buf.Next(over)
		t.forgotten += over
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// written returns how many bytes have been written so far.
func (t *tail) written() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.forgotten + t.buf.Len()
}

// since returns what was written after so many bytes, as far as it is kept.
func (t *tail) since(written int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf.Bytes()[max(written-t.forgotten, 0):])
}
