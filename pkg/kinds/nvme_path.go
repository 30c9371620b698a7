// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"regexp"
	"strconv"
	"strings"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// nvmePath is one connection of a remote controller (bdev_nvme_attach_controller). An Update attaches
// the new address before it detaches the old one, so that I/O never lacks a path.
func nvmePath() resource.Declaration[*pb.NvmePath] {
	return resource.Declaration[*pb.NvmePath]{
		Mutable:  []string{"traddr", "fabrics.trsvcid", "fabrics.adrfam", "fabrics.source_traddr", "fabrics.source_trsvcid"},
		Complete: completePath,
		Check:    checkPath,
		Holds: func(_ *resource.Record, m *pb.NvmePath, _ resource.View) []resource.Hold {
			p := pathObject("", &pb.NvmeRemoteController{}, m)
			return []resource.Hold{{
				Token: "path/" + strings.TrimPrefix(p.Key().ID, "|") + "|" + p.HostNQN,
				Field: "traddr",
				What:  "connection to " + p.SubsystemNQN + " at " + p.Address.String(),
			}}
		},
		Objects: func(r *resource.Record, m *pb.NvmePath, v resource.View) ([]driver.Object, error) {
			parent := v.Record(r.Name.Parent())
			if parent == nil {
				return nil, errdefs.New(errdefs.NotFound, "%s does not exist", r.Name.Parent())
			}
			options, _ := parent.Message.(*pb.NvmeRemoteController)
			path := pathObject(r.Name.Parent().ID(), options, m)
			path.TLSKey = pathTLSKey(parent.Name, options)
			return []driver.Object{path}, nil
		},
		Stats: func(name resource.Name, m *pb.NvmePath, _ resource.View) []driver.Key {
			return []driver.Key{pathObject(name.Parent().ID(), &pb.NvmeRemoteController{}, m).Key()}
		},
		Takes: func(name resource.Name, _ *pb.NvmePath, v resource.View) string {
			if len(v.Records(name.Collection())) > 1 {
				return "" // the last path to go takes the controller's bdevs with it
			}
			return name.Parent().ID()
		},
	}
}

// completePath gives a new path that names no host NQN the bridge's own, or that of the controller's
// other paths, which must be the same. Paths of old keep what they were attached with, be it the data
// plane's own: to attach them as another host would take the disks on them away for a moment.
func completePath(m *pb.NvmePath, c resource.Completion) error {
	f := m.GetFabrics()
	if f == nil || f.GetHostnqn() != "" {
		return nil
	}
	f.Hostnqn = c.HostNQN
	if prior, ok := c.Prior.(*pb.NvmePath); ok {
		f.Hostnqn = prior.GetFabrics().GetHostnqn()
		return nil
	}
	for _, r := range c.View.Records(c.Name.Collection()) {
		if other, ok := r.Message.(*pb.NvmePath); ok && r.Name != c.Name && other.GetFabrics() != nil {
			f.Hostnqn = other.GetFabrics().GetHostnqn()
			break
		}
	}
	return nil
}

// pciFunction is a PCIe address in full: domain, bus, device and function.
var pciFunction = regexp.MustCompile(`^[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[01][0-9A-Fa-f]\.[0-7]$`)

func checkPath(m *pb.NvmePath, v *resource.Violations) {
	f := m.GetFabrics()
	if m.GetTrtype() == pb.NvmeTransportType_NVME_TRANSPORT_TYPE_PCIE {
		v.Check(f == nil, "fabrics", "must not be set for a PCIe path")
		v.Check(pciFunction.MatchString(m.GetTraddr()), "traddr",
			"%q must be the PCIe address of an NVMe device on the data plane's machine, such as 0000:01:00.0", m.GetTraddr())
		return
	}
	v.Check(fabricsTransport(m.GetTrtype()) != "", "trtype",
		"%s must be NVME_TRANSPORT_TYPE_TCP, NVME_TRANSPORT_TYPE_RDMA or NVME_TRANSPORT_TYPE_PCIE", m.GetTrtype())
	if f == nil {
		v.Check(false, "fabrics", "must be set for a fabrics path")
		return
	}
	checkFamily(v, "fabrics.adrfam", f.GetAdrfam())
	checkIP(v, "traddr", m.GetTraddr(), f.GetAdrfam())
	checkPort(v, "fabrics.trsvcid", f.GetTrsvcid())
	if f.GetSubnqn() == discoveryNQN {
		v.Check(false, "fabrics.subnqn", "the discovery subsystem has no namespaces: name the subsystem with the volumes")
	} else {
		checkNQN(v, "fabrics.subnqn", f.GetSubnqn())
	}
	if f.GetHostnqn() != "" {
		checkNQN(v, "fabrics.hostnqn", f.GetHostnqn())
	}
	if f.GetSourceTraddr() != "" {
		checkIP(v, "fabrics.source_traddr", f.GetSourceTraddr(), f.GetAdrfam())
	}
	// The admin and the I/O queue cannot share a port, and SPDK's attach would never answer.
	v.Check(f.GetSourceTrsvcid() == 0, "fabrics.source_trsvcid",
		"%d cannot be used, because each queue of a path needs a port of its own: leave it 0", f.GetSourceTrsvcid())
}

func pathObject(controller string, options *pb.NvmeRemoteController, m *pb.NvmePath) *driver.Path {
	f := m.GetFabrics()
	address := driver.Address{Transport: driver.TransportPCIe, Traddr: strings.ToLower(m.GetTraddr())}
	if f != nil {
		address = driver.Address{
			Transport: fabricsTransport(m.GetTrtype()),
			Family:    family(f.GetAdrfam()),
			Traddr:    m.GetTraddr(),
			Trsvcid:   strconv.FormatInt(f.GetTrsvcid(), 10),
		}.Canonical()
	}
	return &driver.Path{
		Controller:   controller,
		Address:      address,
		SubsystemNQN: f.GetSubnqn(),
		HostNQN:      f.GetHostnqn(),
		SourceTraddr: f.GetSourceTraddr(),
		Multipath:    multipath(options.GetMultipath()),
		IOQueues:     uint32(options.GetIoQueuesCount()), //nolint:gosec // bounded by Check
		HeaderDigest: options.GetTcp().GetHdgst(),
		DataDigest:   options.GetTcp().GetDdgst(),
	}
}
