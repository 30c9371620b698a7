// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"fmt"
	"math"
	"strings"

	"github.com/google/uuid"
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// maxNSID is the highest nsid that the API's int32 can carry.
const maxNSID = math.MaxInt32

// nvmeNamespace is a volume that hosts see. Its nsid, uuid, nguid and eui64 are fixed by the create,
// because a host drops a disk whose identifiers change; the volume behind it may be exchanged.
func nvmeNamespace() resource.Declaration[*pb.NvmeNamespace] {
	return resource.Declaration[*pb.NvmeNamespace]{
		Mutable:  []string{"spec.volume_name_ref"},
		Complete: completeNamespace,
		Check:    checkNamespace,
		Refs: func(m *pb.NvmeNamespace) []resource.Ref {
			return []resource.Ref{{Field: "spec.volume_name_ref", To: m.GetSpec().GetVolumeNameRef()}}
		},
		Holds: namespaceHolds,
		Objects: func(r *resource.Record, m *pb.NvmeNamespace, v resource.View) ([]driver.Object, error) {
			nqn, err := subsystemNQN(r.Name, v)
			if err != nil {
				return nil, err
			}
			bdev, err := v.Bdev(m.GetSpec().GetVolumeNameRef())
			if err != nil {
				return nil, err
			}
			return []driver.Object{&driver.Namespace{
				Subsystem: nqn,
				NSID:      uint32(m.GetSpec().GetHostNsid()), //nolint:gosec // bounded by Check
				Bdev:      bdev,
				UUID:      m.GetSpec().GetUuid(),
				NGUID:     m.GetSpec().GetNguid(),
				EUI64:     eui64(m.GetSpec().GetEui64()),
				Shown:     shown(r, m.GetSpec().GetVolumeNameRef()),
			}}, nil
		},
		Stats: func(_ resource.Name, m *pb.NvmeNamespace, v resource.View) []driver.Key {
			bdev, err := v.Bdev(m.GetSpec().GetVolumeNameRef())
			if err != nil {
				return nil
			}
			return []driver.Key{driver.BdevKey(bdev)}
		},
		Live: func(r *resource.Record, m *pb.NvmeNamespace, v resource.View) {
			m.Status = &pb.NvmeNamespaceStatus{
				State:     pb.NvmeNamespaceStatus_STATE_ENABLED,
				OperState: pb.NvmeNamespaceStatus_OPER_STATE_OFFLINE,
			}
			if r.State == resource.StateDeleting {
				m.Status.State = pb.NvmeNamespaceStatus_STATE_DELETING
			}
			nqn, err := subsystemNQN(r.Name, v)
			if err == nil && v.Observed(driver.NamespaceKey(nqn, uint32(m.GetSpec().GetHostNsid()))) != nil { //nolint:gosec // bounded by Check
				m.Status.OperState = pb.NvmeNamespaceStatus_OPER_STATE_ONLINE
			}
		},
	}
}

// completeNamespace gives the lowest free nsid, and the identifiers: where only one of uuid and nguid
// is given the other gets the same bytes, so that every kind of host sees the same identity (an SPDK
// host reads the nguid, Linux prefers the uuid).
func completeNamespace(m *pb.NvmeNamespace, c resource.Completion) error {
	if m.Spec == nil {
		m.Spec = &pb.NvmeNamespaceSpec{}
	}
	s := m.GetSpec()
	noteShown(c, s.GetVolumeNameRef())
	var prior *pb.NvmeNamespaceSpec
	if p, ok := c.Prior.(*pb.NvmeNamespace); ok {
		prior = p.GetSpec()
	}
	s.Uuid, s.Nguid = canonicalUUID(s.GetUuid()), strings.ToLower(nguidOfUUID(s.GetNguid()))
	switch {
	case s.Uuid == "" && s.Nguid == "" && prior != nil:
		s.Uuid, s.Nguid = prior.GetUuid(), prior.GetNguid()
	case s.Uuid == "" && hexNGUID.MatchString(s.Nguid):
		s.Uuid = uuidOfNGUID(s.Nguid)
	case s.Uuid == "" && s.Nguid == "":
		s.Uuid = c.NewUUID()
	}
	if s.Nguid == "" && dashedUUID.MatchString(s.Uuid) {
		s.Nguid = nguidOfUUID(s.Uuid)
	}
	if s.HostNsid == 0 {
		s.HostNsid = prior.GetHostNsid()
	}
	if s.HostNsid == 0 {
		return lowestNSID(s, c)
	}
	if highest := maxNamespaces(c.Name, c.View); int64(s.HostNsid) > highest {
		return errdefs.InvalidField("spec.host_nsid", "%d is above the %d that max_namespaces of %s allows",
			s.HostNsid, highest, c.Name.Parent())
	}
	return nil
}

// lowestNSID gives the lowest nsid that no other namespace of the subsystem has.
func lowestNSID(s *pb.NvmeNamespaceSpec, c resource.Completion) error {
	taken := map[int32]bool{}
	var undecided resource.Name
	for _, r := range c.View.Records(c.Name.Collection()) {
		if m, ok := r.Message.(*pb.NvmeNamespace); ok {
			taken[m.GetSpec().GetHostNsid()] = true
		}
		if r.State == resource.StateCreating {
			undecided = r.Name
		}
	}
	for n := int32(1); int64(n) <= maxNamespaces(c.Name, c.View); n++ {
		if !taken[n] {
			s.HostNsid = n
			return nil
		}
	}
	if undecided != "" {
		return mayBeLast(c.Name.Parent(), undecided)
	}
	return errdefs.New(errdefs.ResourceExhausted, "%s has all of its %d namespaces: its max_namespaces allows no more",
		c.Name.Parent(), maxNamespaces(c.Name, c.View))
}

// mayBeLast is what a create is told when all places are taken, one of them by what may come to nothing yet.
func mayBeLast(where, undecided resource.Name) error {
	return errdefs.New(errdefs.Unavailable, "%s may have no place left: %s is still being created: try again", where, undecided)
}

func maxNamespaces(child resource.Name, v resource.View) int64 {
	parent := v.Record(child.Parent())
	if parent == nil {
		return 0
	}
	m, _ := parent.Message.(*pb.NvmeSubsystem)
	return m.GetSpec().GetMaxNamespaces()
}

func checkNamespace(m *pb.NvmeNamespace, v *resource.Violations) {
	s := m.GetSpec()
	v.Check(within(int64(s.GetHostNsid()), 1, maxNSID), "spec.host_nsid",
		"%d must be 1 or more, or 0 for the lowest free one", s.GetHostNsid())
	checkUUID(v, "spec.uuid", s.GetUuid())
	v.Check(hexNGUID.MatchString(s.GetNguid()) && s.GetNguid() != nguidOfUUID(uuid.Nil.String()), "spec.nguid",
		"%q must have 32 hexadecimal digits that are not all zero", s.GetNguid())
	v.Check(s.GetVolumeNameRef() != "", "spec.volume_name_ref",
		"must be set to the name of a volume, or the bare name of a bdev")
}

func namespaceHolds(r *resource.Record, m *pb.NvmeNamespace, v resource.View) []resource.Hold {
	s, sub := m.GetSpec(), string(r.Name.Parent())
	holds := []resource.Hold{
		{
			Token: fmt.Sprintf("nsid/%s/%d", sub, s.GetHostNsid()), Field: "spec.host_nsid",
			What: fmt.Sprintf("nsid %d in %s", s.GetHostNsid(), sub),
		},
		{Token: "nsuuid/" + sub + "/" + s.GetUuid(), Field: "spec.uuid", What: "uuid " + s.GetUuid() + " in " + sub},
		{Token: "nguid/" + sub + "/" + s.GetNguid(), Field: "spec.nguid", What: "nguid " + s.GetNguid() + " in " + sub},
	}
	if bdev, err := v.Bdev(s.GetVolumeNameRef()); err == nil {
		holds = append(holds, claim("spec.volume_name_ref", s.GetVolumeNameRef(), bdev))
	}
	return holds
}
