// SPDX-License-Identifier: Apache-2.0

// Package replay_test kills the parts of a running system under a host that does I/O, and wants the
// host to notice nothing but a pause.
package replay_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDiskSurvives(t *testing.T) {
	for _, onRedis := range []bool{false, true} {
		t.Run(map[bool]string{false: "bolt", true: "redis"}[onRedis], func(t *testing.T) {
			s := newSite(t, onRedis)
			s.whole(t)
			before, err := s.disk(t.Context())
			must(t, err)
			h := connect(t, s.dpu.port)
			h.begin(t)

			for name := range s.killable() {
				s.survive(t, h, before, name)
			}
			for _, order := range orders(s) {
				s.survive(t, h, before, order...)
			}
			if s.redis != nil {
				s.withoutRedis(t)
				s.survive(t, h, before, "redis")
			}
			h.end(t)
		})
	}
}

// part is something that can be killed and started again.
type part interface {
	Kill()
	Start()
}

func (s *site) killable() map[string]part {
	parts := map[string]part{"bridge": s.dpu.bridge, "data plane": s.dpu.dataPlane, "storage data plane": s.storage.dataPlane}
	if s.redis != nil {
		parts["redis"] = s.redis
	}
	return parts
}

// orders lists every order in which the DPU's parts can come back after all of them have died.
func orders(s *site) [][]string {
	names := []string{"bridge", "data plane"}
	if s.redis != nil {
		names = append(names, "redis")
	}
	return permutations(names)
}

func permutations(names []string) [][]string {
	if len(names) < 2 {
		return [][]string{names}
	}
	var all [][]string
	for i, first := range names {
		rest := append(append([]string{}, names[:i]...), names[i+1:]...)
		for _, p := range permutations(rest) {
			all = append(all, append([]string{first}, p...))
		}
	}
	return all
}

// survive kills the named parts, starts them again in that order, and checks that the disk is the
// same disk and that I/O goes on.
func (s *site) survive(t *testing.T, h *server, before *pb.NvmeNamespace, names ...string) {
	t.Helper()
	parts := s.killable()
	for _, name := range names {
		parts[name].Kill()
	}
	for _, name := range names {
		parts[name].Start()
	}
	s.whole(t)
	ns, err := s.disk(t.Context())
	must(t, err)
	if !proto.Equal(ns, before) {
		t.Errorf("after the death of %v the disk is %v, before %v", names, ns, before)
	}
	h.goOn(t, 100, fmt.Sprintf("after the death of %v", names))
}

// withoutRedis wants reads to go on and mutations to fail and change nothing while Redis is away.
func (s *site) withoutRedis(t *testing.T) {
	t.Helper()
	s.redis.Kill()
	defer s.redis.Start()
	if _, err := s.disk(t.Context()); err != nil {
		t.Errorf("read without Redis: %v", err)
	}
	volumes := pb.NewNullVolumeServiceClient(s.dpu.conn)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := volumes.CreateNullVolume(ctx, &pb.CreateNullVolumeRequest{
		NullVolumeId: "vol-9", NullVolume: &pb.NullVolume{BlockSize: 512, BlocksCount: 8},
	})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("create without Redis: %v", err)
	}
	if _, err := volumes.GetNullVolume(t.Context(), &pb.GetNullVolumeRequest{Name: "nullVolumes/vol-9"}); status.Code(err) != codes.NotFound {
		t.Errorf("a create that failed has left something: %v", err)
	}
}
