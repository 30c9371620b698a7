// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"fmt"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// nvmeController is an endpoint of a subsystem. On fabrics it is a listener: hosts that connect get
// controllers of their own from it, so what belongs to a single controller cannot be asked for.
func nvmeController() resource.Declaration[*pb.NvmeController] {
	const (
		notQueues = "SPDK has one limit of queues for all controllers of a transport, and each host asks for as many as it wants: leave it unset"
	)
	return resource.Declaration[*pb.NvmeController]{
		Mutable: []string{"spec.fabrics_id.traddr", "spec.fabrics_id.trsvcid", "spec.fabrics_id.adrfam"},
		Refused: []resource.Refusal{
			{Field: "spec.max_nsq", Reason: notQueues},
			{Field: "spec.max_ncq", Reason: notQueues},
			{Field: "spec.max_namespaces", Reason: "is the subsystem's to say: set it there"},
			{Field: "spec.min_limit", Reason: "SPDK has no guaranteed minimum of I/O: leave it unset"},
			{Field: "spec.max_limit", Reason: "SPDK limits volumes, not controllers: leave it unset, and make a QosVolume of each volume behind it"},
		},
		Shapes:   true, // the ids that the subsystem gives
		Complete: completeController,
		Check:    checkController,
		Holds: func(r *resource.Record, m *pb.NvmeController, _ resource.View) []resource.Hold {
			if p := m.GetSpec().GetPcieId(); p != nil {
				return []resource.Hold{pciHold("spec.pcie_id", p)}
			}
			a := endpoint(m)
			return []resource.Hold{{
				Token: "listener/" + driver.ListenerKey(string(r.Name.Parent()), a).ID,
				Field: "spec.fabrics_id.traddr",
				What:  "address " + a.String() + " in " + string(r.Name.Parent()),
			}}
		},
		Objects: func(r *resource.Record, m *pb.NvmeController, v resource.View) ([]driver.Object, error) {
			nqn, err := subsystemNQN(r.Name, v)
			if err != nil {
				return nil, err
			}
			l := &driver.Listener{Subsystem: nqn, Address: endpoint(m)}
			if p := m.GetSpec().GetPcieId(); p != nil {
				a := pciAddress(p)
				l.PCI = &a
			}
			parent, _ := v.Record(r.Name.Parent()).Message.(*pb.NvmeSubsystem)
			l.Secure = len(parent.GetSpec().GetPsk()) > 0
			return []driver.Object{l}, nil
		},
		Stats: func(name resource.Name, _ *pb.NvmeController, v resource.View) []driver.Key {
			// SPDK counts by bdev, not by listener: every controller of a subsystem shows the same sum.
			return namespaceBdevs(name.Parent(), v)
		},
		Live: func(r *resource.Record, m *pb.NvmeController, v resource.View) {
			nqn, err := subsystemNQN(r.Name, v)
			l, ok := v.Observed(driver.ListenerKey(nqn, endpoint(m))).(*driver.Listener)
			m.Status = &pb.NvmeControllerStatus{Active: err == nil && ok && l.Lacks == driver.LacksNothing}
		},
	}
}

// controllersBelow follows the name of a subsystem in the collection of its controllers.
const controllersBelow = "/nvmeControllers"

// fixedControllerID returns the id that a controller must have; fixed is false when any will do.
func fixedControllerID(m proto.Message) (id uint16, fixed bool) {
	c, _ := m.(*pb.NvmeController)
	if c.GetSpec().GetPcieId() == nil || c.GetSpec().NvmeControllerId == nil {
		return 0, false
	}
	return uint16(c.GetSpec().GetNvmeControllerId()), true //nolint:gosec // bounded by Check
}

// validControllerID says whether a controller's id is open or one that can be given.
func validControllerID(s *pb.NvmeControllerSpec) bool {
	return s == nil || s.NvmeControllerId == nil || within(int64(s.GetNvmeControllerId()), driver.MinControllerID, driver.MaxControllerID)
}

// completeController refuses to have a second controller beside one that must have a certain id: a
// subsystem gives ids to hosts in the order in which they come, through whichever controller.
func completeController(m *pb.NvmeController, c resource.Completion) error {
	id, fixed := fixedControllerID(m)
	if !validControllerID(m.GetSpec()) {
		return nil // for Check to say
	}
	for _, other := range c.View.Records(c.Name.Collection()) {
		otherID, otherFixed := fixedControllerID(other.Message)
		if other.Name == c.Name || !fixed && !otherFixed {
			continue
		}
		if other.State == resource.StateCreating || other.State == resource.StateDeleting {
			return errdefs.New(errdefs.Unavailable, "spec.nvme_controller_id: %s is not alone beside %s, which is coming or going: try again", c.Name, other.Name)
		}
		whose, want := c.Name, id
		if otherFixed {
			whose, want = other.Name, otherID
		}
		return errdefs.New(errdefs.FailedPrecondition,
			"spec.nvme_controller_id: %s is to have controller id %d, and a subsystem with more than one controller cannot say which of them gets it: %s and %s need subsystems of their own, or leave the id unset",
			whose, want, c.Name, other.Name).
			WithPrecondition(errdefs.Precondition{
				Type: "ONLY_CONTROLLER", Subject: string(other.Name), Description: "delete it, or make the controller in another subsystem",
			})
	}
	return nil
}

func checkController(m *pb.NvmeController, v *resource.Violations) {
	s := m.GetSpec()
	// The sizes of queue entries are fixed by the specification (2^6 and 2^4 bytes), so only those
	// values can be asked for.
	v.Check(s.GetSqes() == 0 || s.GetSqes() == 6, "spec.sqes", "%d must be 6 (64 bytes) or unset", s.GetSqes())
	v.Check(s.GetCqes() == 0 || s.GetCqes() == 4, "spec.cqes", "%d must be 4 (16 bytes) or unset", s.GetCqes())
	if s.GetTrtype() == pb.NvmeTransportType_NVME_TRANSPORT_TYPE_PCIE {
		v.Check(s.GetFabricsId() == nil, "spec.fabrics_id", "must not be set for a PCIe controller: set pcie_id")
		checkPCI(v, "spec.pcie_id", s.GetPcieId())
		id := s.GetNvmeControllerId()
		v.Check(validControllerID(s), "spec.nvme_controller_id",
			"%d must be %d to %d, or unset for the next free one: 0 is not given to hosts, and ids from 65520 (FFF0h) are reserved by the NVMe Base Specification",
			id, driver.MinControllerID, driver.MaxControllerID)
		return
	}
	v.Check(s == nil || s.NvmeControllerId == nil, "spec.nvme_controller_id",
		"every host that connects to a fabrics controller gets a controller of its own, with the next free id of the subsystem: leave it unset, or make a PCIe controller, which has one host")
	v.Check(fabricsTransport(s.GetTrtype()) != "", "spec.trtype",
		"%s must be NVME_TRANSPORT_TYPE_TCP, NVME_TRANSPORT_TYPE_RDMA or NVME_TRANSPORT_TYPE_PCIE", s.GetTrtype())
	v.Check(s.GetPcieId() == nil, "spec.pcie_id", "must not be set for a fabrics controller: set fabrics_id")
	f := s.GetFabricsId()
	if f == nil {
		v.Check(s.GetPcieId() != nil, "spec.fabrics_id", "must be set for a fabrics controller")
		return
	}
	checkFamily(v, "spec.fabrics_id.adrfam", f.GetAdrfam())
	checkIP(v, "spec.fabrics_id.traddr", f.GetTraddr(), f.GetAdrfam())
	v.Check(port(f.GetTrsvcid()) > 0, "spec.fabrics_id.trsvcid",
		"%q must be a port number from 1 to 65535", f.GetTrsvcid())
}

// endpoint returns the address of a controller. A PCIe function's is its numbers.
func endpoint(m *pb.NvmeController) driver.Address {
	if p := m.GetSpec().GetPcieId(); p != nil {
		a := pciAddress(p)
		return driver.Address{Transport: driver.TransportPCIe, Traddr: fmt.Sprintf("%d.%d.%d", a.Port, a.Physical, a.Virtual)}
	}
	f := m.GetSpec().GetFabricsId()
	return driver.Address{
		Transport: fabricsTransport(m.GetSpec().GetTrtype()),
		Family:    family(f.GetAdrfam()),
		Traddr:    f.GetTraddr(),
		Trsvcid:   f.GetTrsvcid(),
	}.Canonical()
}

// subsystemNQN returns the NQN of the subsystem that a resource belongs to.
func subsystemNQN(child resource.Name, v resource.View) (string, error) {
	parent := v.Record(child.Parent())
	if parent == nil {
		return "", errdefs.New(errdefs.NotFound, "%s does not exist", child.Parent())
	}
	m, _ := parent.Message.(*pb.NvmeSubsystem)
	return m.GetSpec().GetNqn(), nil
}
