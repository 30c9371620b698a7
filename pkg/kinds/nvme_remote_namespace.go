// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// nvmeRemoteNamespace is a bdev that came with a remote controller; its id is the bdev's name. It
// comes and goes as the target's namespaces do.
//
// SPDK tells one identifier of a remote namespace, as the bdev's uuid: the NGUID where the target
// has set one, else the UUID. Which of the two it is cannot be seen, so nguid and eui64 stay empty.
func nvmeRemoteNamespace() resource.Declaration[*pb.NvmeRemoteNamespace] {
	return resource.Declaration[*pb.NvmeRemoteNamespace]{
		Bdev: func(name resource.Name, _ *pb.NvmeRemoteNamespace) string { return name.ID() },
		Derived: func(parent resource.Name, v resource.View) []*pb.NvmeRemoteNamespace {
			var all []*pb.NvmeRemoteNamespace
			for _, b := range v.Brought(parent.ID()) {
				all = append(all, &pb.NvmeRemoteNamespace{
					Name: string(parent) + "/nvmeRemoteNamespaces/" + b.Name,
					Nsid: int32(b.Nvme.NSID), //nolint:gosec // the API's type; SPDK's nsids are small
					Uuid: b.UUID,
				})
			}
			return all
		},
	}
}
