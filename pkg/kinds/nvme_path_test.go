// SPDX-License-Identifier: Apache-2.0

package kinds_test

import (
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// TestPathsAttachAsOneHost says as which host a path is attached.
func TestPathsAttachAsOneHost(t *testing.T) {
	const own, theirs = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001", "nqn.2024-01.io.example:dpu"
	path := func(nqn string) *pb.NvmePath { return &pb.NvmePath{Fabrics: &pb.FabricsPath{Hostnqn: nqn}} }
	for _, row := range []struct {
		what                 string
		asked, sibling, want *pb.NvmePath
		prior                *pb.NvmePath
	}{
		{what: "the first", asked: path(""), want: path(own)},
		{what: "one that names a host", asked: path(theirs), want: path(theirs)},
		{what: "beside another", asked: path(""), sibling: path(theirs), want: path(theirs)},
		{what: "beside one of old", asked: path(""), sibling: path(""), want: path("")},
		{what: "a changed one", asked: path(""), prior: path(theirs), want: path(theirs)},
		{what: "a changed one of old", asked: path(""), prior: path(""), want: path("")},
		{what: "one on PCIe", asked: &pb.NvmePath{}, want: &pb.NvmePath{}},
	} {
		v := newShelf()
		const parent = "nvmeRemoteControllers/node-1/nvmePaths/"
		if row.sibling != nil {
			v.put(parent+"path-2", row.sibling)
		}
		c := resource.Completion{Name: parent + "path-1", View: v, HostNQN: own}
		if row.prior != nil {
			c.Prior = row.prior
		}
		if err := all(t)["nvmePath"].Complete(row.asked, c); err != nil {
			t.Errorf("%s: %v", row.what, err)
		}
		if got := row.asked.GetFabrics().GetHostnqn(); got != row.want.GetFabrics().GetHostnqn() {
			t.Errorf("%s is attached as %q", row.what, got)
		}
	}
}
