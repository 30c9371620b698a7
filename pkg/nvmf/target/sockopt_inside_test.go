// SPDX-License-Identifier: Apache-2.0

package target

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSocketOptions looks at a connection that was accepted: it has what its listener was given.
func TestSocketOptions(t *testing.T) {
	o := TransportOptions{SocketPriority: 5, AckTimeoutMillis: 3210}
	lc := net.ListenConfig{Control: o.control}
	l, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := (&net.Dialer{}).DialContext(t.Context(), "tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		t.Fatalf("accepted a %T", conn)
	}
	if err := o.accepted(tcp); err != nil {
		t.Fatal(err)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	get := func(level, option int) (value int) {
		t.Helper()
		if err := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, option) }); err != nil {
			t.Fatal(err)
		}
		return value
	}
	if priority, timeout := get(unix.SOL_SOCKET, unix.SO_PRIORITY), get(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); priority != 5 || timeout != 3210 {
		t.Errorf("priority %d, timeout %d ms", priority, timeout)
	}
}
