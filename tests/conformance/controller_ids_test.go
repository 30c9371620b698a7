// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	bridgepb "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
	"github.com/opi-bridge/opi-bridge/tests/apitest"
)

// again starts a bridge on the same store in the place of the one that is killed, with further flags.
func (e *env) again(t *testing.T, flags ...string) {
	t.Helper()
	e.bridge.Kill()
	cfg := e.bridgeConfig
	cfg.Flags = slices.Concat(cfg.Flags, flags)
	e.bridge = testkit.Bridge(t, cfg)
	e.client = apitest.Dial(t, e.bridge.GRPCAddr())
	e.ready(t)
}

// cntlid connects as a host does and returns the id of its controller.
func (e *env) cntlid(t *testing.T, nqn string, port int) uint16 {
	t.Helper()
	var seen struct{ CNTLID uint16 }
	testkit.Eventually(t, "a host can connect to "+nqn, func() error {
		out, err := exec.CommandContext(t.Context(), testkit.Program(t, "opi-dataplane"), "identify", "--json",
			"--address", fmt.Sprintf("tcp://127.0.0.1:%d", port), "--subnqn", nqn).Output()
		if err != nil {
			return err
		}
		return json.Unmarshal(out, &seen)
	})
	return seen.CNTLID
}

// TestControllerIDs: hosts get ids of the range that the bridge had when the subsystem was created,
// whatever restarts with whatever flag.
func TestControllerIDs(t *testing.T) {
	e := newEnv(t)
	export := func(id string, nqn string, port int) {
		t.Helper()
		s := &suite{t: t, e: e}
		s.make(made{"nvmeSubsystem", resource.Name("nvmeSubsystems/" + id), msg(&pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: nqn}})})
		s.make(made{"nvmeController", resource.Name("nvmeSubsystems/" + id + "/nvmeControllers/ctrl-1"), msg(&pb.NvmeController{Spec: &pb.NvmeControllerSpec{
			Trtype: overTCP,
			Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
				Traddr: "127.0.0.1", Trsvcid: fmt.Sprint(port), Adrfam: ipv4,
			}},
		}})})
	}
	const old = webNQN + "-old"
	export("old-1", old, e.freePort)
	e.again(t, "--controller-ids", "100-101")
	export("web-1", webNQN, e.webPort)
	check := func(when string) {
		t.Helper()
		for nqn, want := range map[string]driver.ControllerIDs{old: driver.AllControllerIDs(), webNQN: {Min: 100, Max: 101}} {
			s, ok := e.there(t)[driver.SubsystemKey(nqn)].(*driver.Subsystem)
			if !ok || s.MinCntlid != want.Min || s.MaxCntlid != want.Max {
				t.Errorf("%s: %+v, want ids %s", when, s, want)
			}
		}
		status, err := bridgepb.NewBridgeServiceClient(e.client.Conn).GetResourceStatus(t.Context(), &bridgepb.GetResourceStatusRequest{Name: "nvmeSubsystems/web-1"})
		if err != nil || status.GetDecided()["controller_ids"] != "100-101" {
			t.Errorf("%s: status %v, %v", when, status, err)
		}
		// A third host finds that the first has gone: there are two ids.
		for range 3 {
			if id := e.cntlid(t, webNQN, e.webPort); id != 100 && id != 101 {
				t.Errorf("%s: a host got id %d of 100-101", when, id)
			}
		}
	}
	check("at first")
	if id := e.cntlid(t, old, e.freePort); id != driver.MinControllerID {
		t.Errorf("a host got id %d of all", id)
	}
	e.again(t, "--controller-ids", "5-6")
	check("with another flag")
	e.bridge.Kill()
	e.dataPlane.Restart()
	e.bridge.Start()
	e.ready(t)
	check("after the death of both")
}
