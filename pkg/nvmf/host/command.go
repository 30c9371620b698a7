// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// Command is an NVMe command that somebody else has put together.
type Command struct {
	// Admin says whether it goes to the admin queue; otherwise it goes to an I/O queue.
	Admin bool
	// Entry is the command. Command identifier, data pointer and the choice between PRP and SGL are
	// the host's to fill in.
	Entry [nvme.SQESize]byte
	// Data is sent, or read into, or left alone, as the opcode says. It is the host's until Command
	// returns.
	Data []byte
	// Timeout is how long to wait for the answer; 0 is as long as for admin commands. A command that
	// takes longer costs the connection: nothing else gives the data back.
	Timeout time.Duration
}

// CommandDataMax is how much data a command may have, in bytes.
const CommandDataMax = transferMax

// The two low bits of an opcode say which way its data goes (base 3.3.3.1).
const (
	opcodeWrites = 1
	opcodeReads  = 2
	opcodeBoth   = 3
)

// opcodeFabrics is the opcode of all fabrics commands, whose types say it instead.
const opcodeFabrics = 0x7F

// direction says whether a command sends data, and whether it has any.
func (c *Command) direction() (write, moves bool) {
	code := c.Entry[0]
	if code == opcodeFabrics {
		code = c.Entry[4]
	}
	return code&opcodeBoth == opcodeWrites, code&opcodeBoth != 0
}

func (c *Command) check() error {
	entry := nvme.SQE(c.Entry[:])
	switch {
	case entry.FUSE() != 0:
		return invalid("half of a fused command cannot be sent by itself")
	case c.Admin && entry.OPC() == nvme.AdminAsyncEventReq:
		return invalid("an asynchronous event request is not answered before something happens")
	case entry.OPC() != opcodeFabrics && entry.OPC()&opcodeBoth == opcodeBoth:
		return invalid("opcode %#02x has data both ways, which NVMe over TCP cannot carry", entry.OPC())
	case len(c.Data) > CommandDataMax:
		return invalid("%d bytes of data: the most are %d", len(c.Data), CommandDataMax)
	}
	return nil
}

// Command sends a command over the first path of a controller and returns the completion queue
// entry; what the controller makes of the command is in its status, not in the error. An unknown
// controller is NotFound (ENODEV), one that is not connected FailedPrecondition (ENXIO), a command that
// cannot be sent InvalidArgument (EINVAL).
func (h *Host) Command(ctx context.Context, name string, c *Command) ([nvme.CQESize]byte, error) {
	var entry [nvme.CQESize]byte
	h.mu.Lock()
	var paths []*path
	if ctrl := h.find(name); ctrl != nil {
		paths = slices.Clone(ctrl.paths)
	}
	h.mu.Unlock()
	if len(paths) == 0 {
		return entry, noController(name)
	}
	if err := c.check(); err != nil {
		return entry, err
	}
	a := paths[0].assoc.Load()
	if a == nil || a.over.Load() {
		return entry, errdefs.Wrap(errdefs.FailedPrecondition, syscall.ENXIO, "NVMe controller %q is not connected", name)
	}
	q, timeout := a.admin, c.Timeout
	if !c.Admin {
		q = a.pick()
	}
	if timeout == 0 {
		timeout = a.set.commandTimeout
	}
	done := make(chan struct{})
	k := &call{sqe: c.Entry, partial: true, done: func(*call) { close(done) }}
	if write, moves := c.direction(); moves {
		k.data, k.write = c.Data, write
	}
	err := q.await(ctx, timeout, k, done)
	if err == nil {
		err = k.err
	}
	if err != nil {
		return entry, unreachable(err, "NVMe controller %q", name)
	}
	return k.cqe, nil
}
