// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// patience is how long a program may take to end after SIGTERM before it is killed.
const patience = 10 * time.Second

// command says how to start a program.
type command struct {
	// node and program are for people: "dpu", "opi-bridge".
	node, program string
	// path and args are what is started.
	path string
	args []string
	// log is the file that its output is appended to.
	log string
}

func (c command) String() string { return c.node + " " + c.program }

// process is a program that has been started. Its methods are safe for concurrent use.
type process struct {
	command

	cmd *exec.Cmd
	// done is closed when the process has ended; err says how, and is valid from then on.
	done chan struct{}
	err  error
}

// start starts the program. It does not end with ctx: a node is stopped in order, so only stop and
// kill end it, or the death of this process.
func start(ctx context.Context, c command) (*process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", c, err)
	}
	defer func() { _ = log.Close() }()                                        // the program has it by then
	cmd := exec.CommandContext(context.WithoutCancel(ctx), c.path, c.args...) //nolint:gosec // the programs we have just built
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C at the terminal reaches us only and we stop it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c, err)
	}
	p := &process{command: c, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// pid is the number by which people know the process.
func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks the process to end, and kills it when it does not. It returns after the end.
func (p *process) stop() error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	}
	if err := p.kill(); err != nil {
		return err
	}
	return fmt.Errorf("%s did not end within %v after SIGTERM and was killed", p, patience)
}

// kill ends the process with SIGKILL and returns after the end.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// signal sends the signal unless the process has ended.
func (p *process) signal(s os.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to %s: %w", s, p, err)
	}
	return nil
}

// errEnded is in the chain of the error of waiting for a program that has ended.
var errEnded = errors.New("the program has ended")

// alive makes a look of [eventually] give up when the process has ended.
func (p *process) alive(look func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-p.done:
			return fmt.Errorf("%s: %w (%s); its last words, from %s:\n%s", p, errEnded, p.cmd.ProcessState, p.log, p.tail(5))
		default:
			return look(ctx)
		}
	}
}

// tail returns the last lines of the program's log.
func (c command) tail(lines int) string {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}
