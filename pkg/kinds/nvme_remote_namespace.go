// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"cmp"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// nvmeRemoteNamespace is a bdev that came with a remote controller; its id is the bdev's name. It
// comes and goes as the target's namespaces do.
//
// Its identifiers are what the target says; a namespace without a UUID shows the one under which the
// data plane knows it, which SPDK makes of the NGUID.
func nvmeRemoteNamespace() resource.Declaration[*pb.NvmeRemoteNamespace] {
	return resource.Declaration[*pb.NvmeRemoteNamespace]{
		Bdev: func(name resource.Name, _ *pb.NvmeRemoteNamespace) string { return name.ID() },
		Derived: func(parent resource.Name, v resource.View) []*pb.NvmeRemoteNamespace {
			var all []*pb.NvmeRemoteNamespace
			for _, b := range v.Brought(parent.ID()) {
				all = append(all, &pb.NvmeRemoteNamespace{
					Name:  string(parent) + "/nvmeRemoteNamespaces/" + b.Name,
					Nsid:  int32(b.Nvme.NSID), //nolint:gosec // the API's type; SPDK's nsids are small
					Uuid:  cmp.Or(b.Nvme.UUID, b.UUID),
					Nguid: b.Nvme.NGUID,
					Eui64: eui64Number(b.Nvme.EUI64),
				})
			}
			return all
		},
	}
}
