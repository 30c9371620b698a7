// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// file makes a file of that size and returns an aio bdev on it.
func (b *bench) file(name string, bytes int64) *driver.Bdev {
	b.t.Helper()
	path := filepath.Join(b.Dir, name)
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(f.Truncate(bytes), f.Close())
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return &driver.Bdev{Name: name, Kind: driver.BdevAio, BlockSizeBytes: 512, UUID: uuid.NewString(), Filename: path}
}

// testBdevs makes each kind, sees it, makes it again, deletes it, deletes it again.
func testBdevs(t *testing.T, s Suite) {
	b := s.bench(t)
	metadata := malloc("with-metadata")
	metadata.MetadataBytes = 8
	all := []driver.Object{null("n"), malloc("m"), metadata}
	file := b.file("a", 1<<20)
	if s.NoAio {
		b.refused(errdefs.Unimplemented, driver.Step{Op: driver.Create, Object: file}, "a", "uuid")
	} else {
		all = append(all, file)
	}
	b.lacks(file)
	b.lacks(all...)
	for _, o := range all {
		b.must(driver.Create, o)
	}
	b.serves(all...)
	if got, ok := b.observe()[driver.BdevKey("a")].(*driver.Bdev); ok == s.NoAio || ok && got.Blocks != 2048 {
		t.Errorf("aio bdev of 1 MiB: %+v", got)
	}
	for _, o := range all {
		b.refused(errdefs.AlreadyExists, driver.Step{Op: driver.Create, Object: o}, o.Key().String())
		if err := b.apply(driver.Step{Op: driver.Create, Object: o, Adopt: true})[0]; err != nil {
			t.Errorf("adopt %s: %v", o.Key(), err)
		}
		b.must(driver.Delete, o)
	}
	b.lacks(all...)
	for _, o := range all {
		b.must(driver.Delete, o)
		b.must(driver.Create, o)
	}
	b.serves(all...)
}

// testBdevRefusals makes what cannot be made.
func testBdevRefusals(t *testing.T, s Suite) {
	b := s.bench(t)
	first := malloc("first")
	b.must(driver.Create, first)

	other := malloc("first")
	b.refused(errdefs.AlreadyExists, driver.Step{Op: driver.Create, Object: other, Adopt: true}, "first", "uuid")
	twin := malloc("twin")
	twin.UUID = first.UUID
	b.refused(errdefs.AlreadyExists, driver.Step{Op: driver.Create, Object: twin}, "twin", first.UUID, "first")
	alias := malloc(first.UUID)
	b.refused(errdefs.AlreadyExists, driver.Step{Op: driver.Create, Object: alias}, first.UUID, "first")

	odd := malloc("odd")
	odd.BlockSizeBytes = 100
	b.refused(errdefs.InvalidArgument, driver.Step{Op: driver.Create, Object: odd}, "odd", "100")
	empty := null("empty")
	empty.Blocks = 0
	b.refused(errdefs.InvalidArgument, driver.Step{Op: driver.Create, Object: empty}, "empty")
	if !s.NoAio {
		nofile := b.file("nofile", 0)
		nofile.Filename += "-that-is-not-there"
		b.refused(errdefs.FailedPrecondition, driver.Step{Op: driver.Create, Object: nofile}, nofile.Filename)
		uneven := b.file("uneven", 1000)
		b.refused(errdefs.InvalidArgument, driver.Step{Op: driver.Create, Object: uneven}, "uneven", "512")
	}
	remote := malloc("remote")
	remote.Kind = driver.BdevNvme
	b.refused(errdefs.InvalidArgument, driver.Step{Op: driver.Create, Object: remote}, "remote")
	b.refused(errdefs.InvalidArgument, driver.Step{Op: driver.Delete, Object: remote}, "remote")

	// A bdev that somebody else has made in another way is not deleted by mistake.
	wrong := null("first")
	b.refused(errdefs.FailedPrecondition, driver.Step{Op: driver.Delete, Object: wrong}, "first")
	b.serves(first)

	// Refusals carry what the data plane said.
	err := b.do(driver.Create, odd)
	if reason, meta := errdefs.Info(err); reason == "" || meta["spdk_method"] == "" && strings.HasPrefix(reason, "SPDK") {
		t.Errorf("info %q %v of %v", reason, meta, err)
	}
}

// testBdevUpdates changes sizes in place.
func testBdevUpdates(t *testing.T, s Suite) {
	b := s.bench(t)
	n, m := null("n"), malloc("m")
	for _, o := range []driver.Object{n, m} {
		b.must(driver.Create, o)
	}
	step := func(o *driver.Bdev) driver.Step {
		return driver.Step{Op: driver.Update, Object: o, From: b.observe()[o.Key()]}
	}
	grown := *n
	grown.Blocks *= 2
	if err := b.apply(step(&grown))[0]; err != nil {
		t.Errorf("grow: %v", err)
	}
	b.serves(&grown)
	for what, change := range map[string]func(*driver.Bdev){
		"shrunk":         func(o *driver.Bdev) { o.Blocks /= 4 },
		"no whole MiB":   func(o *driver.Bdev) { o.Blocks = grown.Blocks + 1 },
		"another uuid":   func(o *driver.Bdev) { o.UUID = uuid.NewString() },
		"larger blocks":  func(o *driver.Bdev) { o.BlockSizeBytes = 512 },
		"beyond 64 bits": func(o *driver.Bdev) { o.Blocks = 1 << 60 },
	} {
		o := grown
		change(&o)
		if err := b.apply(step(&o))[0]; !errors.Is(err, driver.ErrNotInPlace) {
			t.Errorf("%s: %v", what, err)
		}
	}
	larger := *m
	larger.Blocks *= 2
	if err := b.apply(step(&larger))[0]; !errors.Is(err, driver.ErrNotInPlace) {
		t.Errorf("a malloc bdev: %v", err)
	}
	b.serves(&grown, m)
}

// testAioUpdates has an aio bdev follow its file.
func testAioUpdates(t *testing.T, s Suite) {
	b := s.bench(t)
	a := b.file("a", 1<<20)
	b.must(driver.Create, a)
	step := func(o *driver.Bdev) driver.Step {
		return driver.Step{Op: driver.Update, Object: o, From: b.observe()[o.Key()]}
	}
	if err := os.Truncate(a.Filename, 2<<20); err != nil {
		t.Fatal(err)
	}
	if err := b.apply(step(a))[0]; err != nil {
		t.Errorf("rescan: %v", err)
	}
	if got, ok := b.observe()[a.Key()].(*driver.Bdev); !ok || got.Blocks != 4096 {
		t.Errorf("aio bdev after its file has grown: %+v", got)
	}
	other := *a
	other.Blocks = 4095
	b.refused(errdefs.FailedPrecondition, step(&other), a.Filename)
	if err := os.Truncate(a.Filename, 1<<20); err != nil {
		t.Fatal(err)
	}
	b.refused(errdefs.FailedPrecondition, step(a), a.Filename)
	gone := *a
	gone.Name = "gone"
	b.refused(errdefs.NotFound, driver.Step{Op: driver.Update, Object: &gone, From: a}, "gone")
}

// testBdevStats reads counters.
func testBdevStats(t *testing.T, s Suite) {
	b := s.bench(t)
	statter, ok := b.Driver.(driver.Statter)
	if !ok {
		t.Fatal("the driver has no counters")
	}
	m, n := malloc("m"), null("n")
	b.must(driver.Create, m)
	b.must(driver.Create, n)
	got, err := statter.Stats(t.Context(), []driver.Key{n.Key(), m.Key(), n.Key()})
	if err != nil || len(got) != 3 || got[0].TickRate == 0 || got[0] != got[2] || got[1].WriteOps != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = statter.Stats(t.Context(), []driver.Key{m.Key(), driver.BdevKey("nosuch")})
	if !errors.Is(err, errdefs.NotFound) || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("an unknown bdev: %v", err)
	}
	if _, err = statter.Stats(t.Context(), []driver.Key{driver.SubsystemKey("x")}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("a subsystem: %v", err)
	}
	if got, err = statter.Stats(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("nothing: %v, %v", got, err)
	}
}
