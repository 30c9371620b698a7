// SPDX-License-Identifier: Apache-2.0

// Package drivertest holds the suite that every driver passes. It works on a real data plane with
// real objects: what a driver promises in package driver is seen through the driver's own methods.
package drivertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// DataPlane is a data plane that was started for one test, with the driver under test.
type DataPlane struct {
	// Driver runs until the end of the test.
	Driver driver.Driver
	// Kill ends the data plane at once. Start starts it again; it then holds nothing.
	Kill, Start func()
	// Freeze makes the data plane stop answering, connections kept, until Thaw.
	Freeze, Thaw func()
	// Dir is a directory in which the data plane can open files.
	Dir string
	// Plug connects a VM to the virtio-blk device of that name, and returns when the data plane has taken
	// notice; unplug disconnects it. Only with Virtio.
	Plug func(t *testing.T, device string) (unplug func())
	// Breaker breaks calls of the driver to the data plane. Only with Broken.
	Breaker Breaker
}

// Suite says what is tested.
type Suite struct {
	// New starts a data plane that holds nothing, with a driver that runs until the test ends. It may
	// be called more than once in a test.
	New func(t *testing.T) *DataPlane
	// Remote says that the data plane can attach remote controllers over TCP.
	Remote bool
	// Crypto, Limits, Virtio, TLSKeys, TLS and PCIe say that the data plane has volume keys and crypto
	// bdevs, limits, virtio devices, pre-shared keys, hosts and listeners that use these, and PCIe
	// endpoints.
	Crypto, Limits, Virtio, TLSKeys, TLS, PCIe bool
	// NoAio says that the data plane cannot keep the identity of an aio bdev, so that those are refused.
	NoAio bool
	// Broken says that calls to the data plane can be broken one by one.
	Broken bool
	// CacheMayCome says that a write cache may appear to hosts that are connected.
	CacheMayCome bool
	// Only names the tests to run, none for all.
	Only []string
}

// Run runs the whole suite.
func Run(t *testing.T, s Suite) {
	t.Helper()
	tests := map[string]func(*testing.T, Suite){
		"Bdevs":          testBdevs,
		"BdevRefusals":   testBdevRefusals,
		"BdevUpdates":    testBdevUpdates,
		"Subsystems":     testSubsystems,
		"TargetRefusals": testTargetRefusals,
		"ListenerLimit":  testListenerLimit,
		"TargetUpdates":  testTargetUpdates,
		"Batches":        testBatches,
		"ManyDisks":      testManyDisks,
		"Restart":        testRestart,
		"Freeze":         testFreeze,
		"Changes":        testChanges,
		"BdevStats":      testBdevStats,
		"ConnectedHosts": testConnectedHosts,
	}
	if !s.NoAio {
		tests["AioUpdates"] = testAioUpdates
	}
	if s.Remote {
		tests["Paths"] = testPaths
		tests["PathRefusals"] = testPathRefusals
		tests["TwinPaths"] = testTwinPaths
		tests["Failover"] = testFailover
		tests["NSIDReuse"] = testNSIDReuse
		tests["PathStats"] = testPathStats
		tests["WriteCache"] = testWriteCache
	}
	for _, more := range []struct {
		offered bool
		tests   map[string]func(*testing.T, Suite)
	}{
		{s.Crypto, map[string]func(*testing.T, Suite){
			"Crypto": testCrypto, "CryptoRefusals": testCryptoRefusals, "CryptoReturns": testCryptoReturns,
		}},
		{s.Limits, map[string]func(*testing.T, Suite){
			"Limits": testLimits, "LimitsInUse": testLimitsInUse, "LimitsTogether": testLimitsTogether, "LimitsRefusals": testLimitsRefusals,
		}},
		{s.Limits && s.Crypto, map[string]func(*testing.T, Suite){"LimitsBelowCrypto": testLimitsBelowCrypto}},
		{s.Virtio, map[string]func(*testing.T, Suite){
			"VirtioBlk": testVirtioBlk, "VirtioScsi": testVirtioScsi, "VirtioRefusals": testVirtioRefusals, "VirtioPlugged": testVirtioPlugged,
		}},
		{s.TLSKeys, map[string]func(*testing.T, Suite){"TLSKeys": testTLSKeys}},
		{s.TLS, map[string]func(*testing.T, Suite){"TLS": testTLS}},
		{s.Broken, map[string]func(*testing.T, Suite){"Broken": testBroken}},
		{s.PCIe, map[string]func(*testing.T, Suite){"PCIe": testPCIe}},
	} {
		if more.offered {
			maps.Copy(tests, more.tests)
		}
	}
	for name, test := range tests {
		if len(s.Only) > 0 && !slices.Contains(s.Only, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// patience bounds every wait.
const patience = 30 * time.Second

// bench is a data plane at work in a test.
type bench struct {
	*DataPlane
	t *testing.T
}

// bench starts a data plane and waits for the connection.
func (s Suite) bench(t *testing.T) *bench {
	t.Helper()
	b := &bench{DataPlane: s.New(t), t: t}
	b.eventually("the driver is connected", func() bool { return b.Driver.Status().Up })
	return b
}

// eventually polls until what is expected is true.
func (b *bench) eventually(what string, expected func() bool) {
	b.t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	for !expected() {
		select {
		case <-end.C:
			b.t.Fatalf("it never came true that %s", what)
		case <-b.t.Context().Done():
			b.t.Fatalf("the test ended before it came true that %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// patiently waits a little for what comes true soon, if it does.
func (b *bench) patiently(expected func() bool) {
	b.t.Helper()
	end := time.NewTimer(time.Second)
	defer end.Stop()
	for !expected() {
		select {
		case <-end.C:
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// do carries out one step.
func (b *bench) do(op driver.Op, o driver.Object) error {
	return b.apply(driver.Step{Op: op, Object: o})[0]
}

// apply carries out a batch.
func (b *bench) apply(steps ...driver.Step) []error {
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	return b.Driver.Apply(ctx, steps)
}

// must carries out one step that succeeds.
func (b *bench) must(op driver.Op, o driver.Object) {
	b.t.Helper()
	if err := b.do(op, o); err != nil {
		b.t.Fatalf("%s %s: %v", op, o.Key(), err)
	}
}

// refused carries out a step that fails with that class. The error names every one of words.
func (b *bench) refused(class errdefs.Class, step driver.Step, words ...string) {
	b.t.Helper()
	err := b.apply(step)[0]
	if got := errdefs.ClassOf(err); got != class {
		b.t.Errorf("%s %s: class %q, want %q: %v", step.Op, step.Object.Key(), got, class, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			b.t.Errorf("%s %s: the error does not name %q: %v", step.Op, step.Object.Key(), w, err)
		}
	}
}

// observe returns everything.
func (b *bench) observe() map[driver.Key]driver.Object {
	b.t.Helper()
	o, err := b.Driver.Observe(b.t.Context())
	if err != nil {
		b.t.Fatalf("observe: %v", err)
	}
	return o.Objects
}

// look returns what is under the keys of the objects, and perhaps more.
func (b *bench) look(at ...driver.Object) map[driver.Key]driver.Object {
	b.t.Helper()
	keys := make([]driver.Key, len(at))
	for i, o := range at {
		keys[i] = o.Key()
	}
	o, err := b.Driver.Look(b.t.Context(), keys)
	if err != nil {
		b.t.Fatalf("look at %v: %v", keys, err)
	}
	if want := b.Driver.Status().Epoch; o.Epoch != want {
		b.t.Errorf("a look of epoch %d in epoch %d", o.Epoch, want)
	}
	return o.Objects
}

// sameWay checks that Look and Observe see the same object.
func (b *bench) sameWay(key driver.Key, observed, looked driver.Object) {
	b.t.Helper()
	if (observed == nil) != (looked == nil) || observed != nil && len(observed.Differences(looked)) > 0 {
		b.t.Errorf("%s: Observe sees %+v, Look sees %+v", key, observed, looked)
	}
}

// serves checks that what is there serves as each of the wanted objects.
func (b *bench) serves(wanted ...driver.Object) {
	b.t.Helper()
	there, looked := b.observe(), b.look(wanted...)
	for _, w := range wanted {
		o := there[w.Key()]
		if o == nil {
			b.t.Errorf("%s is not there", w.Key())
			continue
		}
		if d := w.Differences(o); len(d) > 0 {
			b.t.Errorf("%s differs in %v: %+v", w.Key(), d, o)
		}
		b.sameWay(w.Key(), o, looked[w.Key()])
	}
}

// lacks checks that none of the objects is there.
func (b *bench) lacks(unwanted ...driver.Object) {
	b.t.Helper()
	there, looked := b.observe(), b.look(unwanted...)
	for _, u := range unwanted {
		o := there[u.Key()]
		if o != nil {
			b.t.Errorf("%s is there: %+v", u.Key(), o)
		}
		b.sameWay(u.Key(), o, looked[u.Key()])
	}
}

// malloc returns a bdev of 4 MiB.
func malloc(name string) *driver.Bdev {
	return &driver.Bdev{Name: name, Kind: driver.BdevMalloc, BlockSizeBytes: 512, Blocks: 8192, UUID: uuid.NewString()}
}

// null returns a bdev of 16 MiB without memory.
func null(name string) *driver.Bdev {
	return &driver.Bdev{Name: name, Kind: driver.BdevNull, BlockSizeBytes: 4096, Blocks: 4096, UUID: uuid.NewString()}
}

// subsystem returns a subsystem that lets every host in.
func subsystem(name string) *driver.Subsystem {
	return &driver.Subsystem{
		NQN: "nqn.2026-01.org.example:" + name, SerialNumber: "SN" + name, ModelNumber: "a model",
		MaxNamespaces: 16, AllowAnyHost: true,
	}
}

// namespace returns a namespace with identifiers of its own.
func namespace(s *driver.Subsystem, nsid uint32, b *driver.Bdev) *driver.Namespace {
	id := uuid.NewString()
	return &driver.Namespace{
		Subsystem: s.NQN, NSID: nsid, Bdev: b.Name, UUID: id, NGUID: strings.ReplaceAll(id, "-", ""),
		EUI64: fmt.Sprintf("%016x", nsid),
	}
}
