// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Breakage is how one call to the data plane goes wrong.
type Breakage string

// The breakages.
const (
	// Refused: the data plane has done nothing and answers with an error that says nothing.
	Refused Breakage = "refused"
	// Unsent: the connection breaks before the call is made.
	Unsent Breakage = "unsent"
	// Lost: the call is made, and the connection breaks before the answer.
	Lost Breakage = "lost"
	// GivenUp: the call is made, and the answer does not come before the caller has given up.
	GivenUp Breakage = "given up"
)

// Breaker breaks single calls of a driver.
type Breaker interface {
	// Break makes the nth call from now go wrong, and calls hit when it does. End takes that back,
	// waits until calls get through again, and reports whether it came to the nth call.
	Break(n int, how Breakage, hit func()) (end func() (broken bool))
	// Holds tells what the data plane holds, and what the driver has left in directories of its own,
	// by other eyes than the driver's. Of two equal states it tells the same.
	Holds() ([]string, error)
}

// operation is something that takes a driver one or more calls.
type operation struct {
	name string
	// there is made before; object is made, changed to to if that is not nil, and deleted.
	there      []driver.Object
	object, to driver.Object
	// never says that the object cannot be made, which the driver finds out when it has been.
	never bool
}

// testBroken breaks every single call of every operation in every way. One that fails for good has left
// nothing behind; after one of which nobody knows whether it was done, to do it again succeeds, and so
// does the deletion, which leaves nothing behind.
func testBroken(t *testing.T, s Suite) {
	node := s.storage(t, 1)
	node.export(1)
	for _, op := range node.operations(s) {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			b := s.bench(t)
			op.object = withFile(t, op.object, b.Dir)
			for _, o := range op.there {
				b.must(driver.Create, o)
			}
			for _, how := range []Breakage{Refused, Unsent, Lost, GivenUp} {
				if op.never {
					b.breakNever(op, how)
				} else {
					b.breakAll(op, how)
				}
			}
		})
	}
}

// operations lists one for everything that can be made.
func (n *storage) operations(s Suite) []operation {
	var all []operation
	add := func(offered bool, name string, object driver.Object, there ...driver.Object) *operation {
		if !offered {
			return &operation{}
		}
		all = append(all, operation{name: name, object: object, there: there})
		return &all[len(all)-1]
	}
	m, sub, small := malloc("m"), subsystem("s"), null("n")
	closed, larger := *sub, *small
	closed.AllowAnyHost, larger.Blocks = false, 2*small.Blocks
	add(true, "malloc", m)
	add(true, "null", small).to = &larger
	aio := driver.Bdev{Name: "a", Kind: driver.BdevAio, BlockSizeBytes: 512, Blocks: aioBlocks, UUID: uuid.NewString()}
	wrong := aio
	wrong.Blocks++
	add(!s.NoAio, "aio", &aio)
	add(!s.NoAio, "aio of another size", &wrong).never = true
	add(true, "subsystem", sub).to = &closed
	add(true, "host", &driver.Host{Subsystem: sub.NQN, NQN: hostNQN}, sub)
	add(true, "listener", &driver.Listener{Subsystem: sub.NQN, Address: loopback(n.port())}, sub)
	add(true, "namespace", namespace(sub, 1, m), m, sub)
	add(s.Remote, "path", n.path("c", 0))
	key := volumeKey("key", 32)
	crypto := encrypted("e", m, key)
	add(s.Crypto, "volume key", key)
	add(s.Crypto, "crypto", crypto, m, key)
	limits, others := &driver.Limits{Bdev: m.Name, IOPS: 2000}, &driver.Limits{Bdev: m.Name, MiBs: 9}
	add(s.Limits, "limits", limits, m).to = others
	add(s.Limits, "limits in use", limits, m, sub, namespace(sub, 1, m)).to = others
	add(s.Limits && s.Crypto, "limits below crypto", limits, m, key, crypto).to = others
	add(s.TLSKeys, "TLS key", tlsKey("k"))
	scsi := &driver.VirtioScsi{Name: "scsi"}
	add(s.Virtio, "virtio-blk", &driver.VirtioBlk{Name: "blk", Bdev: m.Name}, m)
	add(s.Virtio, "virtio-scsi", scsi)
	socket, target := &driver.VirtioScsiSocket{Controller: scsi.Name}, &driver.VirtioScsiTarget{Controller: scsi.Name, Slot: 3, Bdev: m.Name}
	add(s.Virtio, "virtio-scsi target", target, m, scsi, socket)
	add(s.PCIe, "PCIe endpoint", endpoint(sub, driver.PCIAddress{Physical: 1}, "0.1.0"), sub)
	return all
}

// aioBlocks is the size of the file of an aio bdev.
const aioBlocks = 128

// withFile returns an aio bdev with a file in dir, and anything else as it is.
func withFile(t *testing.T, o driver.Object, dir string) driver.Object {
	t.Helper()
	bdev, ok := o.(*driver.Bdev)
	if !ok || bdev.Kind != driver.BdevAio {
		return o
	}
	file := *bdev
	file.Filename = filepath.Join(dir, "aio.img")
	if err := os.WriteFile(file.Filename, make([]byte, aioBlocks*file.BlockSizeBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	return &file
}

// breakNever breaks each call of an operation that fails in any case.
func (b *bench) breakNever(op operation, how Breakage) {
	b.t.Helper()
	before := b.holds()
	b.each(how, "create", func(err error, what string) {
		switch {
		case err == nil:
			b.t.Fatalf("%s: it succeeds", what)
		case errors.Is(err, errdefs.OutcomeUnknown):
			b.well(what+", then delete", driver.Step{Op: driver.Delete, Object: op.object})
		}
		b.same(what, before)
	}, driver.Step{Op: driver.Create, Object: op.object})
}

// breakAll breaks the first call of an operation, then the second, and so on until none is left.
func (b *bench) breakAll(op operation, how Breakage) {
	b.t.Helper()
	before := b.holds()
	b.must(driver.Create, op.object)
	made := b.holds()
	b.must(driver.Delete, op.object)
	b.same("a life that nothing disturbed", before)
	create, remove := driver.Step{Op: driver.Create, Object: op.object}, driver.Step{Op: driver.Delete, Object: op.object}
	again := create
	again.Adopt = true

	b.each(how, "create", func(err error, what string) {
		switch {
		case err == nil:
		case errors.Is(err, errdefs.OutcomeUnknown):
			b.well(what+", and again", again)
		default:
			b.same(fmt.Sprintf("%s, which is said not to have been done (%v)", what, err), before)
			b.well(what+", and once more", create)
		}
		b.same(what, made)
		b.well(what+", then delete", remove)
		b.same(what+", then delete", before)
	}, create)

	if op.to != nil {
		b.must(driver.Create, op.object)
		update := driver.Step{Op: driver.Update, Object: op.to, From: op.object}
		b.well("update", update)
		changed := b.holds()
		b.must(driver.Delete, op.object)
		b.each(how, "update", func(err error, what string) {
			if err != nil {
				b.well(what+", and again", driver.Step{Op: driver.Update, Object: op.to, From: b.observe()[op.to.Key()]})
			}
			b.same(what, changed)
			b.must(driver.Delete, op.object)
			b.same(what+", then delete", before)
		}, update, create)
	}

	b.each(how, "delete", func(err error, what string) {
		if err != nil {
			b.well(what+", and again", remove)
		}
		b.same(what, before)
	}, remove, create)
}

// each does a step with its first call broken, then its second, until there is none to break; first is done
// before each.
func (b *bench) each(how Breakage, what string, check func(err error, what string), step driver.Step, first ...driver.Step) {
	b.t.Helper()
	for n := 1; !b.t.Failed(); n++ {
		for _, f := range first {
			b.well("prepare", f)
		}
		ctx, cancel := context.WithTimeout(b.t.Context(), patience)
		hit := func() {}
		if how == GivenUp {
			hit = cancel
		}
		epoch := b.Driver.Status().Epoch
		end := b.Breaker.Break(n, how, hit)
		err := b.Driver.Apply(ctx, []driver.Step{step})[0]
		broken := end()
		cancel()
		anew := broken && (how == Unsent || how == Lost)
		b.eventually("the driver is connected", func() bool {
			s := b.Driver.Status()
			return s.Up && (s.Epoch != epoch || !anew)
		})
		if !broken {
			check(err, what+" with no call broken")
			return
		}
		check(err, fmt.Sprintf("%s with call %d %s", what, n, how))
	}
}

// well carries out a step that succeeds.
func (b *bench) well(what string, step driver.Step) {
	b.t.Helper()
	if err := b.apply(step)[0]; err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// holds returns what there is.
func (b *bench) holds() []string {
	b.t.Helper()
	all, err := b.Breaker.Holds()
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// same checks that there is what was there then.
func (b *bench) same(what string, then []string) {
	b.t.Helper()
	var now []string
	b.patiently(func() bool { now = b.holds(); return slices.Equal(now, then) })
	for _, one := range now {
		if !slices.Contains(then, one) {
			b.t.Errorf("%s: there is now %s", what, one)
		}
	}
	for _, one := range then {
		if !slices.Contains(now, one) {
			b.t.Errorf("%s: there is no more %s", what, one)
		}
	}
}
