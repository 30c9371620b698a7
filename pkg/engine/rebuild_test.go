// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// slots shows PCIe functions as ports of the loopback: the data plane of these tests has no PCIe.
type slots struct {
	driver.Driver
	ports map[string]int // by function, "1.2.3"
}

// inside returns an object as the data plane has it, outside as the engine has it.
func (s slots) inside(o driver.Object) driver.Object {
	l, ok := o.(*driver.Listener)
	if !ok || l.Address.Transport != driver.TransportPCIe {
		return o
	}
	return &driver.Listener{Subsystem: l.Subsystem, Address: driver.Address{
		Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(s.ports[l.Address.Traddr]),
	}}
}

func (s slots) outside(o *driver.Observation, err error) (*driver.Observation, error) {
	if err != nil {
		return nil, err
	}
	objects := map[driver.Key]driver.Object{}
	for key, object := range o.Objects {
		for function, port := range s.ports {
			if l, ok := object.(*driver.Listener); ok && l.Address.Trsvcid == strconv.Itoa(port) {
				object = &driver.Listener{Subsystem: l.Subsystem, Address: driver.Address{Transport: driver.TransportPCIe, Traddr: function}}
				key = object.Key()
			}
		}
		objects[key] = object
	}
	return &driver.Observation{Epoch: o.Epoch, Objects: objects}, nil
}

func (s slots) Observe(ctx context.Context) (*driver.Observation, error) {
	return s.outside(s.Driver.Observe(ctx))
}

func (s slots) Look(ctx context.Context, keys []driver.Key) (*driver.Observation, error) {
	within := make([]driver.Key, len(keys))
	for i, key := range keys {
		within[i] = key
		for function, port := range s.ports {
			if key.Type == driver.TypeListener && strings.Contains(key.ID, "|"+function+"|") {
				within[i] = driver.ListenerKey(strings.Split(key.ID, "|")[0], loopback(port))
			}
		}
	}
	return s.outside(s.Driver.Look(ctx, within))
}

func (s slots) Apply(ctx context.Context, steps []driver.Step) []error {
	within := make([]driver.Step, len(steps))
	for i, step := range steps {
		within[i] = step
		within[i].Object = s.inside(step.Object)
	}
	return s.Driver.Apply(ctx, within)
}

func loopback(port int) driver.Address {
	return driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(port)}
}

// slotRig is a rig with two PCIe functions, 1.1.0 and 1.2.0.
func slotRig(t *testing.T, f *faults) *rig {
	t.Helper()
	r := stopped(t)
	r.faults = f
	r.dataPlane = testkit.DataPlane(t)
	r.slots = map[string]int{"1.1.0": testkit.FreePort(t), "1.2.0": testkit.FreePort(t)}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// function returns a PCIe controller; id 0 leaves its controller id open.
func function(physical, id int32) *pb.NvmeController {
	c := &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
		Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_PCIE,
		Endpoint: &pb.NvmeControllerSpec_PcieId{PcieId: &pb.PciEndpoint{
			PortId: wrapperspb.Int32(1), PhysicalFunction: wrapperspb.Int32(physical), VirtualFunction: wrapperspb.Int32(0),
		}},
	}}
	if id != 0 {
		c.Spec.NvmeControllerId = &id
	}
	return c
}

// ids returns the range of the test's subsystem in the data plane, and what else belongs to it.
func (r *rig) ids() (ids driver.ControllerIDs, within string) {
	r.t.Helper()
	all := r.there()
	s, ok := all[driver.SubsystemKey(testNQN)].(*driver.Subsystem)
	if !ok {
		return ids, "no subsystem"
	}
	ns, _ := all[driver.NamespaceKey(testNQN, 1)].(*driver.Namespace)
	host := all[driver.HostKey(testNQN, "nqn.2024-01.io.example:host")]
	return driver.ControllerIDs{Min: s.MinCntlid, Max: s.MaxCntlid}, fmt.Sprintf("%s %v %v", s.SerialNumber, ns, host)
}

func (r *rig) wantIDs(what string, want driver.ControllerIDs, within string) {
	r.t.Helper()
	testkit.Eventually(r.t, what, func() error {
		if got, inside := r.ids(); got != want || inside != within {
			return fmt.Errorf("ids %s with %s, want %s with %s", got, inside, want, within)
		}
		return nil
	})
}

const web = "nvmeSubsystems/web-1"

// TestOnlyControllerHasItsID takes a subsystem with a disk through the life of a controller that must
// have a certain id.
func TestOnlyControllerHasItsID(t *testing.T) {
	t.Parallel()
	r := slotRig(t, nil)
	r.mustCreate("nullVolumes", "", "vol-1", nullVolume())
	r.mustCreate("nvmeSubsystems", "", "web-1", subsystem())
	r.mustCreate("nvmeNamespaces", web, "disk-1", namespace("nullVolumes/vol-1"))
	seven, all := driver.ControllerIDs{Min: 7, Max: 7}, driver.AllControllerIDs()
	before, inside := r.ids()
	if before != all {
		t.Fatalf("ids %s before", before)
	}
	created := r.mustCreate("nvmeControllers", web, "ctrl-1", function(1, 7))
	if id := created.(*pb.NvmeController).GetSpec().GetNvmeControllerId(); id != 7 { //nolint:forcetypeassert // a controller
		t.Errorf("created with id %d", id)
	}
	if got, within := r.ids(); got != seven || within != inside {
		t.Fatalf("ids %s with %s, want %s with %s", got, within, seven, inside)
	}
	for _, second := range []*pb.NvmeController{function(2, 8), function(2, 0), listener(testkit.FreePort(t))} {
		_, err := r.create("nvmeControllers", web, "ctrl-2", second)
		wantClass(t, "a second controller", err, errdefs.FailedPrecondition)
		for _, name := range []string{web + "/nvmeControllers/ctrl-1", web + "/nvmeControllers/ctrl-2", "subsystems of their own"} {
			if !strings.Contains(fmt.Sprint(err), name) {
				t.Errorf("a second controller: %v does not say %s", err, name)
			}
		}
	}
	r.restart()
	r.wantIDs("after a restart of the bridge", seven, inside)
	r.dataPlane.Restart()
	r.settled()
	r.wantIDs("after a restart of the data plane", seven, inside)
	r.behind(driver.Delete, &driver.Subsystem{NQN: testNQN})
	r.eng.Audit()
	r.wantIDs("after somebody deleted the subsystem", seven, inside)
	testkit.Eventually(t, "that is drift, and what the bridge itself has made anew is not", func() error {
		if n := r.eng.Status().Drift[driver.TypeSubsystem]; n != 1 {
			return fmt.Errorf("%d subsystems were repaired", n)
		}
		return nil
	})

	if err := r.remove("nvmeControllers", web+"/nvmeControllers/ctrl-1"); err != nil {
		t.Fatal(err)
	}
	r.wantIDs("after the controller is gone", all, inside)
	r.mustCreate("nvmeControllers", web, "ctrl-1", listener(testkit.FreePort(t)))
	r.mustCreate("nvmeControllers", web, "ctrl-2", function(2, 0))
	_, err := r.create("nvmeControllers", web, "ctrl-3", function(1, 9))
	wantClass(t, "an id beside others", err, errdefs.FailedPrecondition)
	if got, within := r.ids(); got != all || within != inside {
		t.Errorf("after a refusal: ids %s with %s", got, within)
	}
	for _, id := range []int32{-1, 65520, 65536, 1 << 30} {
		_, err := r.create("nvmeControllers", web, "ctrl-3", function(1, id))
		wantClass(t, fmt.Sprint("id ", id), err, errdefs.InvalidArgument)
	}
	r.agree("at the end")
}

// TestSubsystemWithForeignPartsIsNotMadeAnew: what others have put into it would go.
func TestSubsystemWithForeignPartsIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	r := slotRig(t, nil)
	r.mustCreate("nvmeSubsystems", "", "web-1", subsystem())
	for _, theirs := range []driver.Object{
		&driver.Listener{Subsystem: testNQN, Address: loopback(testkit.FreePort(t))},
		&driver.Host{Subsystem: testNQN, NQN: "nqn.2024-01.io.example:theirs"},
	} {
		r.behind(driver.Create, theirs)
		_, err := r.create("nvmeControllers", web, "ctrl-1", function(1, 7))
		wantClass(t, theirs.Key().String(), err, errdefs.FailedPrecondition)
		if got, _ := r.ids(); got != driver.AllControllerIDs() || r.there()[theirs.Key()] == nil {
			t.Errorf("%s: ids %s, %v", theirs.Key(), got, r.there()[theirs.Key()])
		}
		if _, err := r.get("nvmeControllers", web+"/nvmeControllers/ctrl-1"); err == nil {
			t.Error("the controller is there")
		}
		r.behind(driver.Delete, theirs)
	}
	r.mustCreate("nvmeControllers", web, "ctrl-1", function(1, 7))
}

// TestEveryStepOfMakingAnewMayFail fails each call of it: what is refused leaves the subsystem as it was,
// and what is cut short is finished.
func TestEveryStepOfMakingAnewMayFail(t *testing.T) {
	t.Parallel()
	f := &faults{left: -1}
	r := slotRig(t, f)
	r.mustCreate("nullVolumes", "", "vol-1", nullVolume())
	r.mustCreate("nvmeSubsystems", "", "web-1", subsystem())
	r.mustCreate("nvmeNamespaces", web, "disk-1", namespace("nullVolumes/vol-1"))
	_, inside := r.ids()
	create := func() error {
		_, err := r.create("nvmeControllers", web, "ctrl-1", function(1, 7))
		return err
	}
	for _, kind := range []fault{refused, lostDone} {
		for n := 0; ; n++ {
			what := fmt.Sprintf("call %d %s", n, kind)
			f.arm(kind, n)
			err := create()
			fired := f.disarm()
			if !fired && err != nil {
				t.Fatalf("%s: failed without a fault: %v", what, err)
			}
			r.agree(what)
			if err := create(); err != nil {
				t.Fatalf("%s: the same request again: %v", what, err)
			}
			r.wantIDs(what, driver.ControllerIDs{Min: 7, Max: 7}, inside)
			if err := r.remove("nvmeControllers", web+"/nvmeControllers/ctrl-1"); err != nil {
				t.Fatalf("%s: taking it back: %v", what, err)
			}
			if !fired {
				break
			}
		}
		r.wantIDs("taken back", driver.AllControllerIDs(), inside)
	}
}

// TestDisksComeWhileTheSubsystemIsMadeAnew: none of them is lost, and none of them is refused for ever.
func TestDisksComeWhileTheSubsystemIsMadeAnew(t *testing.T) {
	t.Parallel()
	const disks = 12
	r := slotRig(t, nil)
	r.mustCreate("nvmeSubsystems", "", "web-1", subsystem())
	errs := make(chan error, disks)
	for i := range disks {
		r.mustCreate("nullVolumes", "", fmt.Sprintf("vol-%d", i), nullVolume())
		go func() {
			for {
				_, err := r.create("nvmeNamespaces", web, fmt.Sprintf("disk-%d", i), namespace(fmt.Sprintf("nullVolumes/vol-%d", i)))
				if err == nil || errdefs.ClassOf(err) != errdefs.Unavailable {
					errs <- err
					return
				}
			}
		}()
	}
	for id := int32(1); id <= 4; id++ {
		testkit.Eventually(t, "a controller with an id of its own", func() error {
			_, err := r.create("nvmeControllers", web, "ctrl-1", function(1, id))
			return err
		})
		if err := r.remove("nvmeControllers", web+"/nvmeControllers/ctrl-1"); err != nil {
			t.Fatal(err)
		}
	}
	for range disks {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	r.agree("at the end")
	if n := len(r.eng.Objects()); n != 2*disks+2 {
		t.Errorf("%d objects", n)
	}
}

// TestRangeOfTheDay: a subsystem keeps the range with which it was created.
func TestRangeOfTheDay(t *testing.T) {
	t.Parallel()
	r := slotRig(t, nil)
	high := driver.ControllerIDs{Min: 32768, Max: 65519}
	r.mustCreate("nvmeSubsystems", "", "old-1", &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN + "-old"}})
	r.stop()
	r.tune = func(c *engine.Config) { c.ControllerIDs = high }
	r.start()
	r.mustCreate("nvmeSubsystems", "", "web-1", subsystem())
	_, inside := r.ids()
	r.wantIDs("a subsystem of this day", high, inside)
	r.mustCreate("nvmeControllers", web, "ctrl-1", function(1, 7))
	r.wantIDs("with an id that is asked for", driver.ControllerIDs{Min: 7, Max: 7}, inside)
	r.stop()
	r.tune = func(c *engine.Config) { c.ControllerIDs = driver.ControllerIDs{Min: 1, Max: 99} }
	r.dataPlane.Restart()
	r.start()
	if err := r.remove("nvmeControllers", web+"/nvmeControllers/ctrl-1"); err != nil {
		t.Fatal(err)
	}
	r.wantIDs("under another flag", high, inside)
	old, ok := r.there()[driver.SubsystemKey(testNQN+"-old")].(*driver.Subsystem)
	if !ok || old.MinCntlid != driver.MinControllerID || old.MaxCntlid != driver.MaxControllerID {
		t.Errorf("the subsystem of the first day: %+v", old)
	}
	r.agree("at the end")
}
