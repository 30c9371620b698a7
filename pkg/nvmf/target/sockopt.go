// SPDX-License-Identifier: Apache-2.0

package target

import (
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketOptions gives a socket what the transport wants of sockets.
func (o *TransportOptions) socketOptions(raw syscall.RawConn) error {
	if o.SocketPriority == 0 && o.AckTimeoutMillis == 0 {
		return nil
	}
	var set error
	err := raw.Control(func(fd uintptr) {
		if o.SocketPriority > 0 {
			set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, int(o.SocketPriority))
		}
		if set == nil && o.AckTimeoutMillis > 0 {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(o.AckTimeoutMillis))
		}
	})
	if err == nil {
		err = set
	}
	if err != nil {
		return fmt.Errorf("set priority %d and timeout %d ms of the socket: %w", o.SocketPriority, o.AckTimeoutMillis, err)
	}
	return nil
}

// control does so for a socket that is about to listen, so that what the system does not allow is found
// out then.
func (o *TransportOptions) control(_, _ string, raw syscall.RawConn) error {
	return o.socketOptions(raw)
}

// accepted does so for a connection. The system hands the timeout down from the listener, and not the
// priority.
func (o *TransportOptions) accepted(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("access the socket: %w", err)
	}
	return o.socketOptions(raw)
}
