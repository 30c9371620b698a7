// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"net/netip"
	"strconv"
)

// Canonical returns the address with its parts written in the one way that comparisons use: IP
// addresses as netip prints them ("::1", never "0:0:0:0:0:0:0:1"), ports without leading zeroes.
// Parts that are neither are kept as they are.
func (a Address) Canonical() Address {
	if ip, err := netip.ParseAddr(a.Traddr); err == nil {
		a.Traddr = ip.String()
	}
	if port, err := strconv.ParseUint(a.Trsvcid, 10, 16); err == nil {
		a.Trsvcid = strconv.FormatUint(port, 10)
	}
	return a
}
