// SPDX-License-Identifier: Apache-2.0

package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// writeTime bounds the writing of one command. A QEMU whose main loop stands still reads nothing, but
// the socket's buffer takes hundreds of commands.
const writeTime = 10 * time.Second

// answer is what came of a command.
type answer struct {
	result json.RawMessage
	err    error
}

// Conn is one connection to QEMU, past the negotiation. Its methods are safe for concurrent use.
type Conn struct {
	nc      net.Conn
	lines   *bufio.Scanner // the reader's
	onEvent func(Event)
	version Version
	ended   chan struct{} // closed by end

	writing sync.Mutex // serialises commands on the wire

	mu      sync.Mutex
	last    uint64                 // id of the last command; guarded by mu
	pending map[uint64]chan answer // commands that wait, each channel with room for its answer; guarded by mu
	err     error                  // why the connection has ended; guarded by mu
}

func newConn(nc net.Conn, maxMessage int, onEvent func(Event)) *Conn {
	c := &Conn{
		nc: nc, lines: bufio.NewScanner(nc), onEvent: onEvent,
		ended: make(chan struct{}), pending: map[uint64]chan answer{},
	}
	c.lines.Buffer(nil, maxMessage)
	return c
}

// Version returns the version of QEMU.
func (c *Conn) Version() Version { return c.version }

// next reads one message.
func (c *Conn) next() (message, error) {
	var m message
	if !c.lines.Scan() {
		err := c.lines.Err()
		switch {
		case err == nil:
			return m, errors.New("closed by QEMU")
		case errors.Is(err, bufio.ErrTooLong):
			return m, errors.New("QEMU sends a message that is too long")
		}
		return m, fmt.Errorf("read: %w", err)
	}
	if err := json.Unmarshal(c.lines.Bytes(), &m); err != nil {
		return m, fmt.Errorf("what is sent is no QMP: %w", err)
	}
	return m, nil
}

// greet reads the greeting, which must come within patience.
func (c *Conn) greet(patience time.Duration) error {
	if err := c.nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("bound the greeting: %w", err)
	}
	m, err := c.next()
	switch {
	case err != nil:
		return fmt.Errorf("no greeting; a monitor has one client at a time, and QEMU does not answer while it waits for a device: %w", err)
	case m.Greeting == nil:
		return errors.New("it does not greet as QMP does: is this the socket of -qmp?")
	}
	c.version = m.Greeting.version()
	if err := c.nc.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("end the bound of the greeting: %w", err)
	}
	return nil
}

// read hands answers and events out until the connection ends.
func (c *Conn) read() {
	for {
		m, err := c.next()
		switch {
		case err != nil:
			c.end(err)
			return
		case m.Event != "":
			c.onEvent(Event{Name: m.Event, Data: m.Data})
		case m.ID == nil:
			if m.Error != nil {
				c.end(fmt.Errorf("QEMU could not read a command: %w", m.Error))
				return
			}
		case m.Error != nil:
			c.finish(*m.ID, answer{err: m.Error})
		default:
			c.finish(*m.ID, answer{result: m.Return})
		}
	}
}

// finish gives an answer to the one who waits for it, if there is one.
func (c *Conn) finish(id uint64, a answer) {
	c.mu.Lock()
	waiting := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if waiting != nil {
		waiting <- a
	}
}

// end closes the connection and fails all that waits. Only the first cause counts.
func (c *Conn) end(cause error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = cause
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	close(c.ended)
	c.nc.Close()
	for _, waiting := range pending {
		waiting <- answer{err: errdefs.Wrap(errdefs.OutcomeUnknown, cause, "connection to QEMU lost before the answer came")}
	}
}

// cause returns why the connection has ended.
func (c *Conn) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Execute carries out a command with arguments (an object or nil) and decodes what it returns into
// result, unless that is nil. A refusal is an [Error] in the chain; Unavailable says that the command
// was not sent, OutcomeUnknown that it was and no answer came, before ctx or the connection ended.
func (c *Conn) Execute(ctx context.Context, command string, arguments, result any) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	waiting := make(chan answer, 1)
	c.mu.Lock()
	if c.err != nil {
		err := c.err
		c.mu.Unlock()
		return errdefs.Wrap(errdefs.Unavailable, err, "%s: not sent to QEMU", command)
	}
	c.last++
	id := c.last
	c.pending[id] = waiting
	c.mu.Unlock()

	line, err := json.Marshal(request{Execute: command, Arguments: arguments, ID: id})
	if err != nil {
		c.forget(id)
		return errdefs.Wrap(errdefs.Internal, err, "%s: arguments", command)
	}
	if err := c.write(append(line, '\n')); err != nil {
		// How much has arrived cannot be known.
		c.end(fmt.Errorf("write: %w", err))
	}
	select {
	case a := <-waiting:
		if a.err != nil {
			return fmt.Errorf("%s: %w", command, a.err)
		}
		if result == nil {
			return nil
		}
		if err := json.Unmarshal(a.result, result); err != nil {
			return errdefs.Wrap(errdefs.Internal, err, "%s: QEMU returned what nobody expected", command)
		}
		return nil
	case <-ctx.Done():
		c.forget(id)
		return errdefs.Wrap(errdefs.OutcomeUnknown, context.Cause(ctx), "%s: QEMU has not answered yet", command)
	}
}

func (c *Conn) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

func (c *Conn) write(line []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.nc.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	_, err := c.nc.Write(line)
	return err
}
