// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// TestMoreSubsystemsThanTheDataPlaneHasRoomFor: the cap is met with a refusal that names it, by clients
// side by side, and what was refused leaves nothing behind.
func TestMoreSubsystemsThanTheDataPlaneHasRoomFor(t *testing.T) {
	const most, room, asked = 6, 5, 12 // the discovery subsystem is one of the most
	e := newEnv(t, "--max-subsystems", fmt.Sprint(most))
	kind := e.kinds["nvmeSubsystem"]
	nqn := func(i int) string { return fmt.Sprintf("%s-%02d", webNQN, i) }
	create := func(i int) error {
		_, err := e.client.Create(t.Context(), kind, resource.Name(fmt.Sprintf("nvmeSubsystems/sub-%02d", i)),
			&pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: nqn(i)}})
		return err
	}
	errs := make([]error, asked)
	var clients sync.WaitGroup
	for i := range errs {
		clients.Go(func() { errs[i] = create(i) })
	}
	clients.Wait()

	there := e.there(t)
	granted, firstRefused := 0, -1
	for i, err := range errs {
		_, getErr := e.client.Get(t.Context(), kind, resource.Name(fmt.Sprintf("nvmeSubsystems/sub-%02d", i)))
		_, inDataPlane := there[driver.SubsystemKey(nqn(i))]
		if err == nil {
			granted++
			if getErr != nil || !inDataPlane {
				t.Errorf("sub-%02d was granted: get %v, in the data plane %v", i, getErr, inDataPlane)
			}
			continue
		}
		firstRefused = i
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), fmt.Sprintf("it can have %d", most)) {
			t.Errorf("sub-%02d: %v, want ResourceExhausted that names %d", i, err, most)
		}
		if status.Code(getErr) != codes.NotFound || inDataPlane {
			t.Errorf("sub-%02d was refused: get %v, in the data plane %v", i, getErr, inDataPlane)
		}
	}
	if granted != room {
		t.Fatalf("%d subsystems were granted, want %d", granted, room)
	}

	// After a restart of both nothing of the refused comes back, and room that is made can be used.
	e.bridge.Kill()
	e.dataPlane.Restart()
	e.bridge.Start()
	e.ready(t)
	subsystems := 0
	for key := range e.there(t) {
		if key.Type == driver.TypeSubsystem {
			subsystems++
		}
	}
	if subsystems != room {
		t.Errorf("%d subsystems after a restart, want %d", subsystems, room)
	}
	for i, err := range errs {
		if err != nil {
			continue
		}
		if err := e.client.Delete(t.Context(), kind, resource.Name(fmt.Sprintf("nvmeSubsystems/sub-%02d", i)), false); err != nil {
			t.Fatal(err)
		}
		break
	}
	if err := create(firstRefused); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}
