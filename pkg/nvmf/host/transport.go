// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// TransportID says where a subsystem is. Its members are SPDK's, and so is its JSON form.
type TransportID struct {
	// Trtype is TCP in any case.
	Trtype string `json:"trtype"`
	// Adrfam is IPv4 or IPv6, in any case.
	Adrfam string `json:"adrfam,omitempty"`
	// Traddr is the IP address.
	Traddr string `json:"traddr"`
	// Trsvcid is the port in decimal.
	Trsvcid string `json:"trsvcid,omitempty"`
	// Subnqn is the NQN of the subsystem.
	Subnqn string `json:"subnqn,omitempty"`
}

// Limits of SPDK's strings, in bytes.
const (
	traddrMax  = 256
	trsvcidMax = 32
	nqnMax     = 223
	nameMax    = 511
)

// normalize spells type and family as SPDK shows them.
func (t TransportID) normalize() TransportID {
	if strings.EqualFold(t.Trtype, "tcp") {
		t.Trtype = "TCP"
	}
	switch {
	case strings.EqualFold(t.Adrfam, "ipv4"):
		t.Adrfam = "IPv4"
	case strings.EqualFold(t.Adrfam, "ipv6"):
		t.Adrfam = "IPv6"
	}
	return t
}

// addrPort returns the address to connect to.
func (t TransportID) addrPort() (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(t.Traddr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("traddr: %w", err)
	}
	if (t.Adrfam != "IPv4" || !addr.Is4()) && (t.Adrfam != "IPv6" || !addr.Is6()) {
		return netip.AddrPort{}, fmt.Errorf("traddr %s is not of family %q", t.Traddr, t.Adrfam)
	}
	port, err := strconv.ParseUint(t.Trsvcid, 10, 16)
	if err != nil || port == 0 {
		return netip.AddrPort{}, fmt.Errorf("trsvcid %q is not a port", t.Trsvcid)
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}

// dial opens a TCP connection to t, from the local address and port if they are not empty.
func (t TransportID) dial(ctx context.Context, hostaddr, hostsvcid string, timeout time.Duration) (*net.TCPConn, error) {
	remote, err := t.addrPort()
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: timeout}
	if hostaddr != "" || hostsvcid != "" {
		local := TransportID{Adrfam: t.Adrfam, Traddr: hostaddr, Trsvcid: hostsvcid}
		if dialer.LocalAddr, err = local.localAddr(); err != nil {
			return nil, err
		}
	}
	conn, err := dialer.DialContext(ctx, "tcp", remote.String())
	if err != nil {
		return nil, err //nolint:wrapcheck // it names operation and addresses
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("connection to %s is a %T", remote, conn)
	}
	return tcp, nil
}

// boundAcks lets the system end a connection when what was sent has not been acknowledged for so long
// (tcp(7), TCP_USER_TIMEOUT): a wire that was cut without a word is noticed by the first request after
// that, not by the keep alive. 0 leaves it to the system, which tries for a quarter of an hour.
func boundAcks(conn *net.TCPConn, timeout time.Duration) error {
	if timeout == 0 {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("bound the wait for acknowledgements: %w", err)
	}
	milliseconds := int(min(timeout.Milliseconds(), math.MaxInt32))
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, milliseconds)
	}); err != nil {
		return fmt.Errorf("bound the wait for acknowledgements: %w", err)
	}
	if set != nil {
		return fmt.Errorf("bound the wait for acknowledgements to %d ms: %w", milliseconds, set)
	}
	return nil
}

// localAddr is the address to connect from.
func (t TransportID) localAddr() (*net.TCPAddr, error) {
	var local net.TCPAddr
	if t.Traddr != "" {
		addr, err := netip.ParseAddr(t.Traddr)
		if err != nil {
			return nil, fmt.Errorf("hostaddr: %w", err)
		}
		local.IP = addr.AsSlice()
	}
	if t.Trsvcid != "" {
		port, err := strconv.ParseUint(t.Trsvcid, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("hostsvcid %q is not a port", t.Trsvcid)
		}
		local.Port = int(port)
	}
	return &local, nil
}
