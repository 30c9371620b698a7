// SPDX-License-Identifier: Apache-2.0

package kvm_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/drivertest"
	"github.com/opi-bridge/opi-bridge/pkg/driver/kvm"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDriver runs the suite of all drivers through the wrapper. Virtio devices have halves here, and
// tests of their own.
func TestDriver(t *testing.T) {
	drivertest.Run(t, drivertest.Suite{
		Remote: true, Crypto: true, Limits: true, TLSKeys: true,
		New: func(t *testing.T) *drivertest.DataPlane {
			t.Helper()
			r := newRig(t, nil)
			return &drivertest.DataPlane{
				Driver: r.driver, Kill: r.plane.Kill, Start: r.plane.Start, Freeze: r.plane.Pause, Thaw: r.plane.Resume,
				Dir: t.TempDir(),
			}
		},
	})
}

// rig is a data plane and a QEMU with the driver between them.
type rig struct {
	t        *testing.T
	plane    *testkit.DataPlaneProcess
	vhostDir string
	vm       *vm
	driver   *kvm.Driver
}

// newRig starts everything and waits until it knows each other. Change changes the configuration.
func newRig(t *testing.T, change func(*kvm.Config), qemu ...string) *rig {
	t.Helper()
	r := &rig{t: t, vhostDir: testkit.SocketDir(t)}
	r.plane = testkit.DataPlane(t, "--vhost-dir", r.vhostDir, "--crash-like-spdk")
	r.vm = newVM(t, qemu...)
	r.plane.Kill() // so that the data plane is the last to come, and one EventUp all that is told
	r.driver = r.newDriver(change)
	testkit.Eventually(t, "the driver has reached QEMU", func() error {
		if _, err := r.driver.Observe(t.Context()); err == nil {
			return nil
		}
		return r.reached()
	})
	r.plane.Start()
	testkit.Eventually(t, "the driver has reached the data plane", func() error { return r.driver.Status().Err })
	return r
}

// reached says whether there is a connection to QEMU: each counts as an epoch.
func (r *rig) reached() error {
	if r.driver.Status().Epoch == 0 {
		return hung("epoch", 0)
	}
	return nil
}

// newDriver runs a driver until the test ends.
func (r *rig) newDriver(change func(*kvm.Config)) *kvm.Driver {
	r.t.Helper()
	inner, err := spdk.New(spdk.Config{Network: "unix", Address: r.plane.Socket(), KeyDir: r.t.TempDir(), Log: logger(r.t)})
	must(r.t, err)
	cfg := kvm.Config{
		Inner: inner, Network: "unix", Address: r.vm.socket, VhostDir: r.vhostDir,
		Buses: []string{"pci.opi.0", "pci.opi.1"}, Log: logger(r.t),
	}
	if change != nil {
		change(&cfg)
	}
	d, err := kvm.New(cfg)
	must(r.t, err)
	runUntilEnd(r.t, d.Run)
	return d
}

// do carries out one step.
func (r *rig) do(step driver.Step) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	return r.driver.Apply(ctx, []driver.Step{step})[0]
}

// create makes objects.
func (r *rig) create(objects ...driver.Object) {
	r.t.Helper()
	for _, o := range objects {
		if err := r.do(driver.Step{Op: driver.Create, Object: o}); err != nil {
			r.t.Fatalf("create %s: %v", o.Key(), err)
		}
	}
}

// remove deletes objects.
func (r *rig) remove(objects ...driver.Object) {
	r.t.Helper()
	for _, o := range objects {
		if err := r.do(driver.Step{Op: driver.Delete, Object: o}); err != nil {
			r.t.Fatalf("delete %s: %v", o.Key(), err)
		}
	}
}

// mend updates an object from what is there.
func (r *rig) mend(o driver.Object) error {
	return r.do(driver.Step{Op: driver.Update, Object: o, From: r.observe()[o.Key()]})
}

// refused carries out a step that fails with that class. The error names every one of words.
func (r *rig) refused(class errdefs.Class, step driver.Step, words ...string) {
	r.t.Helper()
	err := r.do(step)
	if got := errdefs.ClassOf(err); got != class {
		r.t.Errorf("%s %s: class %q, want %q: %v", step.Op, step.Object.Key(), got, class, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.t.Errorf("%s %s: the error does not name %q: %v", step.Op, step.Object.Key(), w, err)
		}
	}
}

// observe returns everything.
func (r *rig) observe() map[driver.Key]driver.Object {
	r.t.Helper()
	var o *driver.Observation
	testkit.Eventually(r.t, "the data plane can be observed", func() (err error) {
		o, err = r.driver.Observe(r.t.Context())
		return err
	})
	return o.Objects
}

// blk returns what is there of a device, which must be something.
func (r *rig) blk(name string) *driver.VirtioBlk {
	r.t.Helper()
	b, ok := r.observe()[driver.VirtioBlkKey(name)].(*driver.VirtioBlk)
	if !ok {
		r.t.Fatalf("device %s is not there", name)
	}
	return b
}

// lacks checks that nothing is there of a device.
func (r *rig) lacks(name string) {
	r.t.Helper()
	if o := r.observe()[driver.VirtioBlkKey(name)]; o != nil {
		r.t.Errorf("device %s is there: %+v", name, o)
	}
	r.vm.sits("opi-"+name, "")
	if c := r.vm.chardevs(); strings.Contains(c, "opi-"+name+" ") {
		r.t.Errorf("connections %q are left", c)
	}
}

// next waits for an event of that kind.
func (r *rig) next(kind driver.EventKind) {
	r.t.Helper()
	end := time.NewTimer(30 * time.Second)
	defer end.Stop()
	for {
		select {
		case e := <-r.driver.Events():
			if e.Kind == kind {
				return
			}
		case <-end.C:
			r.t.Fatalf("no event %v", kind)
		}
	}
}

func volume(name string) *driver.Bdev {
	return &driver.Bdev{
		Name: name, Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 8192, UUID: "6b2e6a1c-0d2f-4b9e-9a83-" + (name + "000000000000")[:12],
	}
}
