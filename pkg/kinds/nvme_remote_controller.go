// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

// nvmeRemoteController is a controller on a storage node. By itself it is nothing in the data plane:
// it holds the options that its paths are attached with, and SPDK fixes those with the first path.
func nvmeRemoteController() resource.Declaration[*pb.NvmeRemoteController] {
	return resource.Declaration[*pb.NvmeRemoteController]{
		Refused: []resource.Refusal{
			{Field: "queue_size", Reason: "SPDK has no call that sets the size of a remote controller's queues: leave it 0, and set io_queues_count for more of them"},
		},
		Secrets: []string{"tcp.psk"},
		Check: func(m *pb.NvmeRemoteController, v *resource.Violations) {
			v.Check(multipath(m.GetMultipath()) != "", "multipath",
				"%s must be NVME_MULTIPATH_DISABLE, NVME_MULTIPATH_FAILOVER or NVME_MULTIPATH_MULTIPATH", m.GetMultipath())
			v.Check(within(m.GetIoQueuesCount(), 0, 65536), "io_queues_count",
				"%d must be 1 to 65536, or 0 for the data plane's default", m.GetIoQueuesCount())
			if len(m.GetTcp().GetPsk()) > 0 {
				checkPSK(v, "tcp.psk", m.GetTcp().GetPsk())
			}
		},
		Objects: func(r *resource.Record, m *pb.NvmeRemoteController, _ resource.View) ([]driver.Object, error) {
			if len(m.GetTcp().GetPsk()) == 0 {
				return nil, nil
			}
			return []driver.Object{&driver.TLSKey{Name: pathTLSKey(r.Name, m), PSK: secret.New(m.GetTcp().GetPsk())}}, nil
		},
		Stats: func(name resource.Name, _ *pb.NvmeRemoteController, v resource.View) []driver.Key {
			var keys []driver.Key
			for _, b := range v.Brought(name.ID()) {
				keys = append(keys, b.Key())
			}
			return keys
		},
		Reset: func(name resource.Name, m *pb.NvmeRemoteController) (string, error) {
			if m.GetTcp().GetDdgst() {
				// SPDK 26.09-pre waits for ever for the end of a queue whose data it was checking.
				return "", errdefs.New(errdefs.FailedPrecondition,
					"%s uses data digests (tcp.ddgst), and with these SPDK does not come back from a reset while reads are under way: "+
						"delete a path and create it again instead, or make the controller without them", name)
			}
			return name.ID(), nil
		},
	}
}

// pathTLSKey returns the name of the key that the controller's paths use, "" for none.
func pathTLSKey(name resource.Name, m *pb.NvmeRemoteController) string {
	if len(m.GetTcp().GetPsk()) == 0 {
		return ""
	}
	return "opi-bridge:path:" + name.ID()
}

// multipath returns the driver's word for a mode, or "".
func multipath(m pb.NvmeMultipath) driver.Multipath {
	switch m {
	case pb.NvmeMultipath_NVME_MULTIPATH_DISABLE:
		return driver.MultipathDisable
	case pb.NvmeMultipath_NVME_MULTIPATH_FAILOVER:
		return driver.MultipathFailover
	case pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH:
		return driver.MultipathMultipath
	case pb.NvmeMultipath_NVME_MULTIPATH_UNSPECIFIED:
	}
	return ""
}
