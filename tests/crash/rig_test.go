// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// instance is the name under which the bridge keeps its records.
const instance = "test"

// rig is a bridge with a proxy before each of its neighbours, and eyes that look past the proxies.
type rig struct {
	t         *testing.T
	gate      *gate
	dataPlane *testkit.DataPlaneProcess
	vhosts    string // the directory of its vhost sockets
	dpProxy   *proxy
	redis     *testkit.RedisServer // nil when the store is a file
	stProxy   *proxy               // nil when the store is a file
	disk      *drive               // nil when the store is Redis
	bridge    *testkit.BridgeProcess
	client    client
	kinds     map[string]*resource.Kind
	registry  *resource.Registry
	eye       *spdk.Driver
	records   store.Store

	storage *storage
	file    string
	keyFile string         // seals the secrets in the store
	sealer  *secret.Sealer // opens them
	ports   [2]int
	// foreign are objects that others have made in the data plane.
	foreign map[driver.Key]driver.Object
	// known lists the names that the test uses.
	known []resource.Name
	// made lists what stands besides the resource under test, as it was answered.
	made map[resource.Name]proto.Message
}

// newRig starts everything; the bridge's records are in Redis.
func newRig(t *testing.T, node *storage) *rig {
	t.Helper()
	r := prepare(t, node)
	r.redis = testkit.Redis(t)
	r.stProxy = newProxy(t, r.gate, "tcp", "127.0.0.1:0", r.redis.Addr(), newRESPWire)
	s, err := redis.New(redis.Config{URL: "redis://" + r.redis.Addr() + "/0", Instance: instance})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	r.records = s
	r.run("redis://"+r.stProxy.listener.Addr().String()+"/0", nil)
	return r
}

// newFileRig starts everything; the bridge's records are in that file.
func newFileRig(t *testing.T, node *storage, file string) *rig {
	t.Helper()
	r := prepare(t, node)
	var under []string
	r.disk, under = newDrive(t, r.gate, testkit.SocketDir(t))
	r.records = copied{path: file, copy: file + ".copy"}
	r.run("bolt://"+file, under)
	return r
}

// prepare starts what all rigs have.
func prepare(t *testing.T, node *storage) *rig {
	t.Helper()
	r := &rig{t: t, gate: newGate(), storage: node, file: filepath.Join(t.TempDir(), "file.img"), kinds: map[string]*resource.Kind{}, made: map[resource.Name]proto.Message{}}
	must(t, os.WriteFile(r.file, make([]byte, 2<<20), 0o600))
	r.keyFile = filepath.Join(filepath.Dir(r.file), "seal.key")
	var err error
	r.sealer, err = secret.LoadOrCreateKeyFile(r.keyFile)
	must(t, err)
	for i := range r.ports {
		r.ports[i] = testkit.FreePort(t)
	}
	all, err := kinds.All()
	must(t, err)
	r.registry, err = resource.NewRegistry(all)
	must(t, err)
	for _, k := range all {
		r.kinds[k.Singular()] = k
	}
	r.vhosts = testkit.SocketDir(t)
	r.dataPlane = testkit.DataPlane(testkit.WithoutRace(t), "--vhost-dir", r.vhosts)
	r.dpProxy = newProxy(t, r.gate, "unix", filepath.Join(testkit.SocketDir(t), "spdk.sock"), r.dataPlane.Socket(), newJSONWire)
	r.eye = watch(t, r.dataPlane)
	return r
}

// run starts the bridge on a store, under a program if one is given.
func (r *rig) run(url string, under []string) {
	r.t.Helper()
	r.bridge = testkit.Bridge(testkit.WithoutRace(r.t), testkit.BridgeConfig{
		SPDK: "unix://" + r.dpProxy.listener.Addr().String(), Store: url, Instance: instance, WaitFor: "/healthz", Under: under,
		Flags: r.flags(),
	})
	r.client = dial(r.t, r.bridge.GRPCAddr())
	r.ready()
}

// flags are those of all bridges of the rig.
func (r *rig) flags() []string {
	return []string{"--secret-key-file", r.keyFile, "--key-dir", filepath.Join(filepath.Dir(r.keyFile), "keys"), "--audit-interval", "1s"}
}

// watch returns a driver that looks at a data plane besides the bridge.
func watch(t *testing.T, dp *testkit.DataPlaneProcess) *spdk.Driver {
	t.Helper()
	d, err := spdk.New(spdk.Config{
		Network: "unix", Address: dp.Socket(), Log: slog.New(slog.DiscardHandler), MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond,
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	testkit.Eventually(t, "the data plane is looked at", func() error {
		if s := d.Status(); !s.Up {
			return errors.Join(s.Err, errors.New("not up"))
		}
		return nil
	})
	return d
}

// ready waits until the bridge takes mutations.
func (r *rig) ready() {
	r.t.Helper()
	testkit.Eventually(r.t, "the bridge takes mutations", func() error {
		return r.client.remove(r.t.Context(), r.kinds["nullVolume"], "nullVolumes/nothing")
	})
}

// build makes a resource that stands besides the one under test.
func (r *rig) build(b built) {
	r.t.Helper()
	got, err := r.client.Create(r.t.Context(), r.kinds[b.kind], b.name, b.message(r))
	if err != nil {
		r.t.Fatalf("building %s: %v", b.name, err)
	}
	r.made[b.name] = lasting(got)
}

// get returns a resource, nil when it does not exist.
func (r *rig) get(k *resource.Kind, name resource.Name) (proto.Message, error) {
	got, err := r.client.get(r.t.Context(), k, name)
	if status.Code(err) == codes.NotFound {
		return nil, nil //nolint:nilnil // that it does not exist is an answer
	}
	return got, err
}

// kindOf returns the kind of a name.
func (r *rig) kindOf(name resource.Name) *resource.Kind { return r.registry.ByName(name) }

// storage is a node whose namespaces data planes attach to; all rigs share it.
type storage struct{ port, otherPort int }

const storageNQN = "nqn.2024-01.io.example:storage"

// newStorage starts a data plane that exports a namespace on two ports.
func newStorage(t *testing.T) *storage {
	t.Helper()
	s := &storage{port: testkit.FreePort(t), otherPort: testkit.FreePort(t)}
	eye := watch(t, testkit.DataPlane(testkit.WithoutRace(t)))
	const uuid = "00000000-0000-4000-8000-000000000001"
	steps := []driver.Step{
		{Op: driver.Create, Object: &driver.Subsystem{NQN: storageNQN, SerialNumber: "STORAGE", AllowAnyHost: true}},
		{Op: driver.Create, Object: &driver.Bdev{Name: "s1", Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 8192, UUID: uuid}},
		{Op: driver.Create, After: []int{0, 1}, Object: &driver.Namespace{
			Subsystem: storageNQN, NSID: 1, Bdev: "s1", UUID: uuid, NGUID: "00000000000040008000000000000001",
		}},
	}
	for _, port := range []int{s.port, s.otherPort} {
		steps = append(steps, driver.Step{Op: driver.Create, After: []int{0}, Object: &driver.Listener{
			Subsystem: storageNQN,
			Address:   driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(port)},
		}})
	}
	must(t, errors.Join(eye.Apply(t.Context(), steps)...))
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
