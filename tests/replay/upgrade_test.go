// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestUpgradeUnderLoad replaces the DPU's bridge, as an upgrade does, while a host does I/O: the new
// one starts, the old one ends, in order or by a crash. The host has the same disk all the time.
func TestUpgradeUnderLoad(t *testing.T) {
	s := newSite(t, true)
	s.whole(t)
	before, err := s.disk(t.Context())
	must(t, err)
	h := connect(t, s.dpu.port)
	const requests = 2000
	h.begin(t)
	h.goOn(t, requests, "while nothing happens")
	quiet := h.end(t)

	h.begin(t)
	for _, end := range []struct {
		name string
		old  func(*testkit.BridgeProcess)
	}{
		{"in order", (*testkit.BridgeProcess).Stop},
		{"in order again", (*testkit.BridgeProcess).Stop},
		{"by a crash", (*testkit.BridgeProcess).Kill},
	} {
		old := s.dpu.bridge
		s.dpu.serve(t, s.store)
		if err := s.dpu.ready(t.Context()); err == nil {
			t.Error("the new bridge is ready while the old one serves")
		}
		end.old(old)
		s.whole(t)
		now, err := s.disk(t.Context())
		must(t, err)
		if !proto.Equal(now, before) {
			t.Errorf("the old bridge ended %s: the disk is %v, and was %v", end.name, now, before)
		}
		volumes := pb.NewNullVolumeServiceClient(s.dpu.conn)
		_, err = volumes.CreateNullVolume(t.Context(), &pb.CreateNullVolumeRequest{
			NullVolumeId: "new-1", NullVolume: &pb.NullVolume{BlockSize: 512, BlocksCount: 64},
		})
		must(t, err)
		_, err = volumes.DeleteNullVolume(t.Context(), &pb.DeleteNullVolumeRequest{Name: "nullVolumes/new-1"})
		must(t, err)
		h.goOn(t, requests, "after the old bridge ended "+end.name)
	}
	t.Logf("the longest request took %v during three upgrades, and %v while nothing happened", h.end(t), quiet)
}
