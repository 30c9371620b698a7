// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is an engine on a real data plane and a real store, which can be stopped and started again.
type rig struct {
	t         *testing.T
	dataPlane *testkit.DataPlaneProcess
	dbURL     string
	kinds     map[string]*resource.Kind
	faults    *faults
	// What follows may be set before start.
	wrap    func(driver.Driver) driver.Driver // puts something between engine and driver
	sealer  *secret.Sealer
	keyDir  string
	log     *slog.Logger
	confirm func(context.Context) error
	slots   map[string]int       // ports of the loopback to take for PCIe functions
	tune    func(*engine.Config) // changes what else the engine is made of
	// entranceWait as in [engine.Config].
	entranceWait time.Duration

	eng    *engine.Engine
	driver *spdk.Driver
	store  store.LeasedStore
	stop   func()
}

// stopped returns a rig of which nothing runs yet.
func stopped(t *testing.T) *rig {
	t.Helper()
	return &rig{t: t, dbURL: "bolt://" + filepath.Join(t.TempDir(), "state.db"), kinds: map[string]*resource.Kind{}}
}

// newRig starts everything. Faults may be nil.
func newRig(t *testing.T, f *faults) *rig {
	t.Helper()
	r := stopped(t)
	r.faults = f
	r.dataPlane = testkit.DataPlane(t)
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// start starts driver and engine, as a new process of the bridge would.
func (r *rig) start() {
	r.t.Helper()
	r.launch()
	r.settled()
}

// launch is start without waiting until everything is in place.
func (r *rig) launch() {
	r.t.Helper()
	log := r.log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var err error
	if r.store, err = bolt.New(bolt.Config{URL: r.dbURL}); err != nil {
		r.t.Fatal(err)
	}
	if r.driver, err = spdk.New(spdk.Config{
		Network: "unix", Address: r.dataPlane.Socket(), KeyDir: r.keyDir, Log: log, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
	}); err != nil {
		r.t.Fatal(err)
	}
	all, err := kinds.All()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, k := range all {
		r.kinds[k.Plural()] = k
	}
	cfg := engine.Config{Driver: r.driver, Store: r.store, Kinds: all, Sealer: r.sealer, Log: log, Confirm: r.confirm, EntranceWait: r.entranceWait}
	if r.slots != nil {
		cfg.Driver = slots{r.driver, r.slots}
	}
	if r.faults != nil {
		cfg.Driver = faultyDriver{cfg.Driver, r.faults}
		cfg.Store = faultyStore{r.store, r.faults}
	}
	if r.wrap != nil {
		cfg.Driver = r.wrap(cfg.Driver)
	}
	if r.tune != nil {
		r.tune(&cfg)
	}
	if r.eng, err = engine.New(cfg); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- r.driver.Run(ctx) }()
	go func() { done <- r.eng.Run(ctx) }()
	r.stop = func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				r.t.Errorf("stopping: %v", err)
			}
		}
		if err := r.store.Close(); err != nil {
			r.t.Errorf("closing the store: %v", err)
		}
	}
}

// restart ends driver and engine without any farewell to the data plane, and starts them again.
func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.start()
}

// settled waits until the engine has put everything into place.
func (r *rig) settled() {
	r.t.Helper()
	testkit.Eventually(r.t, "engine settled", func() error {
		if s := r.eng.Status(); !s.Loaded || !s.Settled || s.NotReadyCount > 0 {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
}

func (r *rig) create(collection, parent, id string, m proto.Message) (proto.Message, error) {
	return r.eng.Create(r.t.Context(), r.kinds[collection], parent, id, m)
}

func (r *rig) mustCreate(collection, parent, id string, m proto.Message) proto.Message {
	r.t.Helper()
	got, err := r.create(collection, parent, id, m)
	if err != nil {
		r.t.Fatalf("creating %s/%s: %v", collection, id, err)
	}
	return got
}

func (r *rig) get(collection, name string) (proto.Message, error) {
	return r.eng.Get(r.t.Context(), r.kinds[collection], name)
}

func (r *rig) remove(collection, name string) error {
	return r.eng.Delete(r.t.Context(), r.kinds[collection], name, false)
}

// there returns what the data plane really has.
func (r *rig) there() map[driver.Key]driver.Object {
	r.t.Helper()
	var eye driver.Driver = r.driver
	if r.slots != nil {
		eye = slots{r.driver, r.slots}
	}
	o, err := eye.Observe(r.t.Context())
	if err != nil {
		r.t.Fatalf("observing: %v", err)
	}
	return o.Objects
}

// behind makes a change to the data plane behind the engine's back.
func (r *rig) behind(op driver.Op, o driver.Object) {
	r.t.Helper()
	if err := r.driver.Apply(r.t.Context(), []driver.Step{{Op: op, Object: o}})[0]; err != nil {
		r.t.Fatalf("%s %s behind the engine's back: %v", op, o.Key(), err)
	}
}

const testNQN = "nqn.2024-01.io.example:web"

func nullVolume() *pb.NullVolume { return &pb.NullVolume{BlockSize: 512, BlocksCount: 4096} }

func subsystem() *pb.NvmeSubsystem {
	return &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: testNQN, Hostnqn: "nqn.2024-01.io.example:host"}}
}

func namespace(ref string) *pb.NvmeNamespace {
	return &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: ref}}
}

func listener(port int) *pb.NvmeController {
	return &pb.NvmeController{Spec: &pb.NvmeControllerSpec{
		Trtype: pb.NvmeTransportType_NVME_TRANSPORT_TYPE_TCP,
		Endpoint: &pb.NvmeControllerSpec_FabricsId{FabricsId: &pb.FabricsEndpoint{
			Traddr: "127.0.0.1", Trsvcid: fmt.Sprint(port), Adrfam: pb.NvmeAddressFamily_NVME_ADDRESS_FAMILY_IPV4,
		}},
	}}
}

// buildDisk makes a volume, a subsystem with a listener, and a namespace of that volume.
func (r *rig) buildDisk() *pb.NvmeNamespace {
	r.t.Helper()
	r.mustCreate("nullVolumes", "", "vol-1", nullVolume())
	r.mustCreate("nvmeSubsystems", "", "web-1", subsystem())
	r.mustCreate("nvmeControllers", "nvmeSubsystems/web-1", "ctrl-1", listener(testkit.FreePort(r.t)))
	m := r.mustCreate("nvmeNamespaces", "nvmeSubsystems/web-1", "disk-1", namespace("nullVolumes/vol-1"))
	ns, ok := m.(*pb.NvmeNamespace)
	if !ok {
		r.t.Fatalf("got a %T", m)
	}
	return ns
}

// wantClass checks the class of an error.
func wantClass(t *testing.T, what string, err error, want errdefs.Class) {
	t.Helper()
	if errdefs.ClassOf(err) != want {
		t.Errorf("%s: want %q, got %v", what, want, err)
	}
}
