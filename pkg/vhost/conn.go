// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// sendTimeout bounds how long a front end may take to make room for an answer of a few bytes.
const sendTimeout = 10 * time.Second

// conn frames messages on the socket of a front end. One goroutine reads, one writes.
type conn struct {
	sock    *net.UnixConn
	head    [headerBytes]byte
	control []byte
	payload [maxPayloadBytes]byte
	fds     []int
	out     []byte
}

func newConn(sock *net.UnixConn) *conn {
	return &conn{sock: sock, control: make([]byte, unix.CmsgSpace(4*maxFDs))}
}

// read returns the next message; io.EOF means that the front end has closed the socket between two.
// The descriptors of the message before are closed unless they were taken.
func (c *conn) read() (*message, error) {
	for n := 0; n < headerBytes; {
		got, controlBytes, flags, _, err := c.sock.ReadMsgUnix(c.head[n:], c.control)
		c.collect(c.control[:controlBytes])
		switch {
		case flags&unix.MSG_CTRUNC != 0 || len(c.fds) > maxFDs:
			return nil, fmt.Errorf("a message came with more than %d file descriptors", maxFDs)
		case err == nil && got == 0:
			err = io.EOF
		}
		if err != nil && n > 0 {
			err = noEOF(err)
		}
		if err != nil {
			return nil, fmt.Errorf("read a message: %w", err)
		}
		n += got
	}
	request, flags := binary.LittleEndian.Uint32(c.head[0:]), binary.LittleEndian.Uint32(c.head[4:])
	size := binary.LittleEndian.Uint32(c.head[8:])
	switch {
	case flags&flagVersionMask != flagVersion:
		return nil, fmt.Errorf("message %d is of version %d of the protocol, not %d", request, flags&flagVersionMask, flagVersion)
	case flags&flagReply != 0:
		return nil, fmt.Errorf("message %d says it is an answer, and nothing was asked", request)
	case size > maxPayloadBytes:
		return nil, fmt.Errorf("message %d has %d bytes, more than %d", request, size, maxPayloadBytes)
	}
	if _, err := io.ReadFull(c.sock, c.payload[:size]); err != nil {
		return nil, fmt.Errorf("read message %d: %w", request, noEOF(err))
	}
	return &message{request: request, flags: flags, payload: c.payload[:size], fds: c.fds}, nil
}

// noEOF keeps an end in the middle of a message from looking like a proper one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// collect adds the descriptors in control data to c.fds.
func (c *conn) collect(control []byte) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return // the kernel wrote it, so there is nothing in it
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			c.fds = append(c.fds, fds...)
		}
	}
}

// drop closes the descriptors which came with the last message and were not taken.
func (c *conn) drop(m *message) {
	left := c.fds
	if m != nil {
		left = m.fds
	}
	for _, fd := range left {
		closeFD(fd)
	}
	c.fds = c.fds[:0]
}

// send answers a request. A descriptor that goes with it stays the caller's; -1 is none.
func (c *conn) send(request uint32, payload []byte, fd int) error {
	c.out = appendMessage(c.out[:0], request, flagVersion|flagReply, payload)
	var control []byte
	if fd >= 0 {
		control = unix.UnixRights(fd)
	}
	if err := c.sock.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return fmt.Errorf("answer message %d: %w", request, err)
	}
	n, _, err := c.sock.WriteMsgUnix(c.out, control, nil)
	if err == nil && n < len(c.out) {
		_, err = c.sock.Write(c.out[n:])
	}
	if err != nil {
		return fmt.Errorf("answer message %d: %w", request, err)
	}
	return nil
}

// appendMessage appends header and payload.
func appendMessage(b []byte, request, flags uint32, payload []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, request)
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload))) //nolint:gosec // a few hundred bytes
	return append(b, payload...)
}

// hungUp says whether the front end has closed its end, also if that has not been read yet.
func (c *conn) hungUp() bool {
	raw, err := c.sock.SyscallConn()
	if err != nil {
		return true
	}
	hup := false
	err = raw.Control(func(fd uintptr) {
		set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} //nolint:gosec // descriptors are small numbers
		n, err := unix.Poll(set, 0)
		hup = err == nil && n > 0 && set[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return hup || err != nil
}

// closeFD closes a descriptor that was only looked at or that nothing was written to.
func closeFD(fd int) { _ = unix.Close(fd) }
