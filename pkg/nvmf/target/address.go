// SPDX-License-Identifier: Apache-2.0

package target

import (
	"net/netip"
	"strconv"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
)

// Address families, as SPDK spells them.
const (
	IPv4 = "IPv4"
	IPv6 = "IPv6"
)

// Address is a TCP address in the words of NVMe over Fabrics. Two are the same when family, address
// and port are equal by value, however they are written.
type Address struct {
	// ADRFAM is IPv4 or IPv6 and fits TRADDR. Default IPv4.
	ADRFAM string
	// TRADDR is an IP address without brackets.
	TRADDR string
	// TRSVCID is a port in decimal.
	TRSVCID string
}

// parse returns the address by value. The error is InvalidArgument and names the field.
func (a Address) parse() (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(a.TRADDR)
	if err != nil {
		return netip.AddrPort{}, errdefs.InvalidField("traddr", "%q is not an IP address", a.TRADDR)
	}
	switch a.ADRFAM {
	case IPv4, "":
		if !ip.Is4() {
			return netip.AddrPort{}, errdefs.InvalidField("adrfam", "%q is not an IPv4 address", a.TRADDR)
		}
	case IPv6:
		if !ip.Is6() {
			return netip.AddrPort{}, errdefs.InvalidField("adrfam", "%q is not an IPv6 address", a.TRADDR)
		}
	default:
		return netip.AddrPort{}, errdefs.InvalidField("adrfam", "%q is not IPv4 or IPv6", a.ADRFAM)
	}
	port, err := strconv.ParseUint(a.TRSVCID, 10, 16)
	if err != nil {
		return netip.AddrPort{}, errdefs.InvalidField("trsvcid", "%q is not a port from 0 to 65535", a.TRSVCID)
	}
	return netip.AddrPortFrom(ip, uint16(port)), nil
}

// addressOf is the reverse of parse.
func addressOf(ap netip.AddrPort) Address {
	a := Address{ADRFAM: IPv4, TRADDR: ap.Addr().Unmap().String(), TRSVCID: strconv.Itoa(int(ap.Port()))}
	if ap.Addr().Unmap().Is6() {
		a.ADRFAM = IPv6
	}
	return a
}

func (a Address) family() uint8 {
	if a.ADRFAM == IPv6 {
		return nvme.ADRFAMIPv6
	}
	return nvme.ADRFAMIPv4
}
