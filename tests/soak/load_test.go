// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// work counts what the clients did in a round.
type work struct {
	mu sync.Mutex
	// guarded by mu:
	faulty bool // a neighbour dies in this round, so calls may be Unavailable
	calls  int
	again  int // calls that were made again
	errs   []error
}

// begin starts a round.
func (w *work) begin(faulty bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faulty, w.calls, w.again, w.errs = faulty, 0, 0, nil
}

func (w *work) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("%d calls, %d made again", w.calls, w.again)
}

// maxErrors bounds what is told of a round.
const maxErrors = 5

func (w *work) unexpected() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.errs[:min(len(w.errs), maxErrors)]
}

// note takes in the outcome of a call, and says whether it is to be made again.
func (w *work) note(what string, err error) (again bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	switch {
	case err == nil:
		return false
	case w.faulty && (status.Code(err) == codes.Unavailable || status.Code(err) == codes.Aborted):
		w.again++
		return true
	}
	w.errs = append(w.errs, fmt.Errorf("%s: %w", what, err))
	return false
}

const (
	// patience bounds one attempt at one call. A call that is made again finds what the earlier left.
	patience = time.Minute
	// between is how long a client waits before it makes a call again.
	between = 50 * time.Millisecond
)

// call makes a call until it has succeeded or failed for good.
func (s *site) call(what string, f func(context.Context) error) {
	for {
		ctx, cancel := context.WithTimeout(s.t.Context(), patience)
		err := f(ctx)
		cancel()
		if !s.work.note(what, err) {
			return
		}
		select {
		case <-s.t.Context().Done():
			return
		case <-time.After(between):
		}
	}
}

// cycle is the life of one disk of its own, between looks at a disk that stays.
func (s *site) cycle(id string, other int) {
	subsystem, volume := "nvmeSubsystems/"+id, "nullVolumes/"+id
	s.call("create volume", func(ctx context.Context) error { return s.createVolume(ctx, id) })
	s.call("get volume", func(ctx context.Context) error {
		_, err := s.volumes().GetNullVolume(ctx, &pb.GetNullVolumeRequest{Name: fmt.Sprintf("nullVolumes/base-%05d", other)})
		return err
	})
	s.call("create subsystem", func(ctx context.Context) error { return s.createSubsystem(ctx, id) })
	s.call("create namespace", func(ctx context.Context) error { return s.createNamespace(ctx, id, id) })
	s.call("list volumes", func(ctx context.Context) error {
		_, err := s.volumes().ListNullVolumes(ctx, &pb.ListNullVolumesRequest{PageSize: 50})
		return err
	})
	s.call("grow volume", func(ctx context.Context) error {
		_, err := s.volumes().UpdateNullVolume(ctx, &pb.UpdateNullVolumeRequest{
			NullVolume: &pb.NullVolume{Name: volume, BlocksCount: 4096},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"blocks_count"}},
		})
		return err
	})
	s.call("list namespaces", func(ctx context.Context) error {
		_, err := s.frontend().ListNvmeNamespaces(ctx, &pb.ListNvmeNamespacesRequest{Parent: fmt.Sprintf("nvmeSubsystems/base-%05d", other/perSubsystem)})
		return err
	})
	s.call("delete namespace", func(ctx context.Context) error {
		_, err := s.frontend().DeleteNvmeNamespace(ctx, &pb.DeleteNvmeNamespaceRequest{Name: subsystem + "/nvmeNamespaces/" + id, AllowMissing: true})
		return err
	})
	s.call("delete controller", func(ctx context.Context) error {
		_, err := s.frontend().DeleteNvmeController(ctx, &pb.DeleteNvmeControllerRequest{Name: subsystem + "/nvmeControllers/ctrl-0", AllowMissing: true})
		return err
	})
	s.call("delete subsystem", func(ctx context.Context) error {
		_, err := s.frontend().DeleteNvmeSubsystem(ctx, &pb.DeleteNvmeSubsystemRequest{Name: subsystem, AllowMissing: true})
		return err
	})
	s.call("delete volume", func(ctx context.Context) error {
		_, err := s.volumes().DeleteNullVolume(ctx, &pb.DeleteNullVolumeRequest{Name: volume, AllowMissing: true})
		return err
	})
}
