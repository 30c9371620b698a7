// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestReset resets remote controllers, but those that SPDK would not bring back.
func TestReset(t *testing.T) {
	e := newEnv(t)
	for _, row := range []struct {
		header, data bool
		want         codes.Code
	}{{false, false, codes.OK}, {true, false, codes.OK}, {false, true, codes.FailedPrecondition}, {true, true, codes.FailedPrecondition}} {
		controller := made{"nvmeRemoteController", "nvmeRemoteControllers/node-1", msg(&pb.NvmeRemoteController{
			Multipath: pb.NvmeMultipath_NVME_MULTIPATH_MULTIPATH, Tcp: &pb.TcpController{Hdgst: row.header, Ddgst: row.data},
		})}
		path := made{"nvmePath", controller.name + "/nvmePaths/path-1", msg(pathTo(e))}
		s := &suite{t: t, e: e}
		s.make(controller)
		s.make(path)
		err := e.client.Reset(t.Context(), e.kinds[controller.kind], controller.name)
		if status.Code(err) != row.want || err != nil && !strings.Contains(err.Error(), "ddgst") {
			t.Errorf("digests %t %t: reset: %v, want %s", row.header, row.data, err, row.want)
		}
		s.unmake(path)
		s.unmake(controller)
	}
}
