// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"net/netip"
	"strconv"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// fabricsTransport returns the driver's word for a fabrics transport, or "" for any other.
func fabricsTransport(t pb.NvmeTransportType) driver.Transport {
	switch t { //nolint:exhaustive // all others are no fabrics the bridge knows
	case pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP:
		return driver.TransportTCP
	case pb.NvmeTransportType_NVME_TRANSPORT_TYPE_RDMA:
		return driver.TransportRDMA
	}
	return ""
}

// family returns the driver's word for an IP address family, or "" for any other.
func family(f pb.NvmeAddressFamily) driver.Family {
	switch f { //nolint:exhaustive // all others are no IP families
	case pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4:
		return driver.FamilyIPv4
	case pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV6:
		return driver.FamilyIPv6
	}
	return ""
}

// checkFamily notes a family that is none of IP.
func checkFamily(v *resource.Violations, field string, f pb.NvmeAddressFamily) {
	v.Check(family(f) != "", field, "%s must be NVME_ADDRESS_FAMILY_IPV4 or NVME_ADDRESS_FAMILY_IPV6", f)
}

// checkIP notes an address that is no single IP address of the family. Wildcards are refused too: a
// host that connects to a real address would not find the subsystem at 0.0.0.0.
func checkIP(v *resource.Violations, field, s string, f pb.NvmeAddressFamily) {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.IsUnspecified() {
		v.Check(false, field, "%q must be the IP address of one interface or host", s)
		return
	}
	if family(f) != "" {
		v.Check((family(f) == driver.FamilyIPv4) == ip.Is4(), field, "%q does not fit the address family %s", s, f)
	}
}

// checkPort notes a number that is no port.
func checkPort(v *resource.Violations, field string, port int64) {
	v.Check(within(port, 1, 65535), field, "%d must be a port number from 1 to 65535", port)
}

// port reads a port in decimal, 0 when it is none.
func port(s string) int64 {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return int64(n)
}
