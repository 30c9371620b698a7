// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"fmt"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// maxFunction is the highest number of a PCIe function (PCIe Base Specification, SR-IOV: a routing id
// has 16 bits).
const maxFunction = 65535

// checkPCI notes an endpoint that is not wholly given.
func checkPCI(v *resource.Violations, field string, p *pb.PciEndpoint) {
	if p == nil {
		v.Check(false, field, "must be set to where the host is to see the device")
		return
	}
	for _, part := range []struct {
		name  string
		set   bool
		value int32
	}{
		{"port_id", p.GetPortId() != nil, p.GetPortId().GetValue()},
		{"physical_function", p.GetPhysicalFunction() != nil, p.GetPhysicalFunction().GetValue()},
		{"virtual_function", p.GetVirtualFunction() != nil, p.GetVirtualFunction().GetValue()},
	} {
		v.Check(part.set && within(int64(part.value), 0, maxFunction), field+"."+part.name,
			"%d must be set to 0 or more (virtual function 0 is the physical function itself)", part.value)
	}
}

func pciAddress(p *pb.PciEndpoint) driver.PCIAddress {
	return driver.PCIAddress{
		Port:     p.GetPortId().GetValue(),
		Physical: p.GetPhysicalFunction().GetValue(),
		Virtual:  p.GetVirtualFunction().GetValue(),
	}
}

// pciHold says that a place on the bus has one device, whatever its kind.
func pciHold(field string, p *pb.PciEndpoint) resource.Hold {
	a := pciAddress(p)
	what := fmt.Sprintf("PCIe port %d, physical function %d, virtual function %d", a.Port, a.Physical, a.Virtual)
	return resource.Hold{Token: fmt.Sprintf("pci/%d/%d/%d", a.Port, a.Physical, a.Virtual), Field: field, What: what}
}
