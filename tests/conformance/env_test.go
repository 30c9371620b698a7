// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/driver/spdk"
	"github.com/opi-bridge/opi-bridge/pkg/kinds"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
	"github.com/opi-bridge/opi-bridge/tests/apitest"
)

const (
	storageNQN = "nqn.2024-01.io.example:storage"
	webNQN     = "nqn.2024-01.io.example:web"
	fileBlocks = 4096
)

var spdkVersion = flag.String("spdk-version", "", "the version of SPDK that the data plane plays, the newest when empty")

// env is a running bridge on a data plane of its own, a storage node for it to attach to, and an eye
// on what the data plane really has.
type env struct {
	client    apitest.Client
	kinds     map[string]*resource.Kind
	dataPlane *testkit.DataPlaneProcess
	bridge    *testkit.BridgeProcess
	// bridgeConfig is what the bridge was started with.
	bridgeConfig testkit.BridgeConfig
	eye          *spdk.Driver
	storage      *spdk.Driver // of the storage node
	file         string
	// storagePort and otherPort are two listeners of the storage node, webPort and freePort are free.
	storagePort, otherPort, webPort, freePort int
}

func newEnv(t *testing.T, dataPlaneFlags ...string) *env {
	t.Helper()
	e := &env{kinds: map[string]*resource.Kind{}, file: filepath.Join(t.TempDir(), "file.img")}
	for _, p := range []*int{&e.storagePort, &e.otherPort, &e.webPort, &e.freePort} {
		*p = testkit.FreePort(t)
	}
	if err := os.WriteFile(e.file, make([]byte, fileBlocks*512), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := kinds.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		e.kinds[k.Singular()] = k
	}
	e.storageNode(t)
	e.dataPlane = testkit.DataPlane(t, append(dataPlaneFlags, "--vhost-dir", testkit.SocketDir(t), "--spdk-version", *spdkVersion)...)
	e.bridgeConfig = testkit.BridgeConfig{
		SPDK: e.dataPlane.Addr(), Store: "bolt://" + filepath.Join(t.TempDir(), "state.db"), WaitFor: "/healthz",
		Flags: []string{
			"--secret-key-file", filepath.Join(t.TempDir(), "seal.key"), "--key-dir", filepath.Join(t.TempDir(), "keys"),
			"--audit-interval", "1s",
		},
	}
	e.bridge = testkit.Bridge(t, e.bridgeConfig)
	e.client = apitest.Dial(t, e.bridge.GRPCAddr())
	e.eye = watch(t, e.dataPlane)
	e.ready(t)
	return e
}

// forgetsAio says whether the data plane plays an SPDK that cannot be told the uuid of an aio bdev.
func (e *env) forgetsAio() bool { return *spdkVersion != "" && *spdkVersion < "24.09" }

// ready waits until the bridge takes mutations.
func (e *env) ready(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "the bridge takes mutations", func() error {
		return e.client.Delete(t.Context(), e.kinds["nullVolume"], "nullVolumes/nothing", true)
	})
}

// watch returns a driver that looks at a data plane besides the bridge.
func watch(t *testing.T, dp *testkit.DataPlaneProcess) *spdk.Driver {
	t.Helper()
	d, err := spdk.New(spdk.Config{Network: "unix", Address: dp.Socket(), Log: slog.New(slog.DiscardHandler), MaxBackoff: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return d
}

// there returns what the data plane has.
func (e *env) there(t *testing.T) map[driver.Key]driver.Object {
	t.Helper()
	var o *driver.Observation
	testkit.Eventually(t, "the data plane answers", func() (err error) {
		o, err = e.eye.Observe(t.Context())
		return err
	})
	return o.Objects
}

// storageNode starts a data plane that exports two namespaces on two ports.
func (e *env) storageNode(t *testing.T) {
	t.Helper()
	eye := watch(t, testkit.DataPlane(t))
	e.storage = eye
	testkit.Eventually(t, "the storage node answers", func() error {
		if s := eye.Status(); !s.Up {
			return errors.Join(s.Err, errors.New("not up"))
		}
		return nil
	})
	steps := []driver.Step{{Op: driver.Create, Object: &driver.Subsystem{NQN: storageNQN, SerialNumber: "STORAGE", AllowAnyHost: true}}}
	for i, name := range []string{"s1", "s2"} {
		uuid := "00000000-0000-4000-8000-00000000000" + strconv.Itoa(i+1)
		steps = append(steps,
			driver.Step{Op: driver.Create, Object: &driver.Bdev{Name: name, Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 8192, UUID: uuid}},
			driver.Step{Op: driver.Create, After: []int{0, len(steps)}, Object: &driver.Namespace{
				Subsystem: storageNQN, NSID: uint32(i + 1), Bdev: name, UUID: uuid, NGUID: "0000000000004000800000000000000" + strconv.Itoa(i+1),
			}})
	}
	for _, port := range []int{e.storagePort, e.otherPort} {
		steps = append(steps, driver.Step{Op: driver.Create, After: []int{0}, Object: &driver.Listener{Subsystem: storageNQN, Address: tcp(port)}})
	}
	if err := errors.Join(eye.Apply(t.Context(), steps)...); err != nil {
		t.Fatal(err)
	}
}

// tcp returns a loopback address.
func tcp(port int) driver.Address {
	return driver.Address{Transport: driver.TransportTCP, Family: driver.FamilyIPv4, Traddr: "127.0.0.1", Trsvcid: strconv.Itoa(port)}
}
