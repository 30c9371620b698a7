// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"strings"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

const (
	// defaultModel is what hosts see as the model when the request names none.
	defaultModel = "opi-bridge"
	// defaultMaxNamespaces is SPDK's own default, written down so that it stays when SPDK's changes.
	defaultMaxNamespaces = 32
	maxSerialBytes       = 20
	maxModelBytes        = 40
	// factControllerIDs is the range of controller ids that the subsystem was created with, in the form
	// of driver.ControllerIDs; without it the subsystem has all.
	factControllerIDs = "controller_ids"
)

// nvmeSubsystem is a host-facing NVMe subsystem. With a hostnqn only that host gets in, without one
// any host does.
func nvmeSubsystem() resource.Declaration[*pb.NvmeSubsystem] {
	return resource.Declaration[*pb.NvmeSubsystem]{
		Mutable:  []string{"spec.hostnqn"},
		Secrets:  []string{"spec.psk"},
		Complete: completeSubsystem,
		Check:    checkSubsystem,
		Holds: func(_ *resource.Record, m *pb.NvmeSubsystem, _ resource.View) []resource.Hold {
			nqn := m.GetSpec().GetNqn()
			return []resource.Hold{{Token: "nqn/" + nqn, Field: "spec.nqn", What: "NQN " + nqn}}
		},
		Objects: func(r *resource.Record, m *pb.NvmeSubsystem, v resource.View) ([]driver.Object, error) {
			s := m.GetSpec()
			ids, err := controllerIDs(r, v)
			if err != nil {
				return nil, err
			}
			objects := []driver.Object{&driver.Subsystem{
				NQN:           s.GetNqn(),
				SerialNumber:  s.GetSerialNumber(),
				ModelNumber:   s.GetModelNumber(),
				MaxNamespaces: uint32(s.GetMaxNamespaces()), //nolint:gosec // bounded by Check
				AllowAnyHost:  s.GetHostnqn() == "",
				MinCntlid:     ids.Min,
				MaxCntlid:     ids.Max,
			}}
			if s.GetHostnqn() != "" {
				host := &driver.Host{Subsystem: s.GetNqn(), NQN: s.GetHostnqn()}
				if len(s.GetPsk()) > 0 {
					host.TLSKey = "opi-bridge:host:" + r.Name.ID()
					objects = append(objects, &driver.TLSKey{Name: host.TLSKey, PSK: secret.New(s.GetPsk())})
				}
				objects = append(objects, host)
			}
			return objects, nil
		},
		Live: func(_ *resource.Record, m *pb.NvmeSubsystem, v resource.View) {
			m.Status = &pb.NvmeSubsystemStatus{}
			if v.Observed(driver.SubsystemKey(m.GetSpec().GetNqn())) != nil {
				m.Status.FirmwareRevision = v.Firmware()
			}
		},
		Stats: func(name resource.Name, _ *pb.NvmeSubsystem, v resource.View) []driver.Key {
			return namespaceBdevs(name, v)
		},
	}
}

func completeSubsystem(m *pb.NvmeSubsystem, c resource.Completion) error {
	if m.Spec == nil {
		m.Spec = &pb.NvmeSubsystemSpec{}
	}
	s := m.GetSpec()
	prior, _ := c.Prior.(*pb.NvmeSubsystem)
	if prior == nil && c.ControllerIDs != driver.AllControllerIDs() {
		c.Facts[factControllerIDs] = c.ControllerIDs.String()
	}
	if s.SerialNumber == "" {
		s.SerialNumber = prior.GetSpec().GetSerialNumber()
	}
	if s.SerialNumber == "" {
		s.SerialNumber = strings.ToUpper(nguidOfUUID(c.NewUUID()))[:maxSerialBytes]
	}
	if s.ModelNumber == "" {
		s.ModelNumber = prior.GetSpec().GetModelNumber()
	}
	if s.ModelNumber == "" {
		s.ModelNumber = defaultModel
	}
	if s.MaxNamespaces == 0 {
		s.MaxNamespaces = prior.GetSpec().GetMaxNamespaces()
	}
	if s.MaxNamespaces == 0 {
		s.MaxNamespaces = defaultMaxNamespaces
	}
	return nil
}

// controllerIDs returns the ids that a subsystem gives to hosts: those of the bridge on the day when it
// was created, or the one that its only controller must have.
func controllerIDs(r *resource.Record, v resource.View) (driver.ControllerIDs, error) {
	for _, c := range v.Records(string(r.Name) + controllersBelow) {
		if id, fixed := fixedControllerID(c.Message); fixed {
			return driver.ControllerIDs{Min: id, Max: id}, nil
		}
	}
	text, given := r.Facts[factControllerIDs]
	if !given {
		return driver.AllControllerIDs(), nil
	}
	ids, err := driver.ParseControllerIDs(text)
	if err != nil {
		return ids, errdefs.Wrap(errdefs.Internal, err, "the controller ids of %s", r.Name)
	}
	return ids, nil
}

func checkSubsystem(m *pb.NvmeSubsystem, v *resource.Violations) {
	s := m.GetSpec()
	checkNQN(v, "spec.nqn", s.GetNqn())
	v.Check(s.GetNqn() != discoveryNQN, "spec.nqn", "%s is the discovery subsystem's own", discoveryNQN)
	v.Check(printable(s.GetSerialNumber(), maxSerialBytes), "spec.serial_number",
		"%q must have at most %d printable ASCII characters", s.GetSerialNumber(), maxSerialBytes)
	v.Check(printable(s.GetModelNumber(), maxModelBytes), "spec.model_number",
		"%q must have at most %d printable ASCII characters", s.GetModelNumber(), maxModelBytes)
	v.Check(within(s.GetMaxNamespaces(), 1, maxNSID), "spec.max_namespaces",
		"%d must be 1 to %d, or 0 for %d", s.GetMaxNamespaces(), int64(maxNSID), defaultMaxNamespaces)
	if s.GetHostnqn() != "" {
		checkNQN(v, "spec.hostnqn", s.GetHostnqn())
	}
	if len(s.GetPsk()) > 0 {
		checkPSK(v, "spec.psk", s.GetPsk())
		v.Check(s.GetHostnqn() != "", "spec.hostnqn", "must be set where psk is: a key is that of one host")
	}
}

// printable says whether s has printable ASCII characters only, and at most limit of them (NVMe Base
// Specification 2.0, section 1.4.2, ASCII strings).
func printable(s string, limit int) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return len(s) <= limit
}

// namespaceBdevs lists the bdevs behind the namespaces of a subsystem.
func namespaceBdevs(subsystem resource.Name, v resource.View) []driver.Key {
	var keys []driver.Key
	for _, r := range v.Records(string(subsystem) + "/nvmeNamespaces") {
		if m, ok := r.Message.(*pb.NvmeNamespace); ok {
			if bdev, err := v.Bdev(m.GetSpec().GetVolumeNameRef()); err == nil {
				keys = append(keys, driver.BdevKey(bdev))
			}
		}
	}
	return keys
}
