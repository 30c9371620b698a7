// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"errors"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// renamed is a migration that changes, drops and adds.
func renamed(docs []store.Document) ([]store.Document, error) {
	out := []store.Document{{Name: "added", Revision: 1, Body: []byte(`"new"`), Sealed: []byte("s")}}
	for _, d := range docs {
		if d.Name == "dropped" {
			continue
		}
		d.Name, d.Body = "v2/"+d.Name, bytes.ReplaceAll(d.Body, []byte("old"), []byte("new"))
		out = append(out, d)
	}
	return out, nil
}

var errMigration = errors.New("cannot migrate this")

func testFormat(b *bench) {
	s := b.store()
	kept := write("kept", 0, `"old"`)
	kept.Sealed = []byte("secret")
	revisions := b.put(s, kept, write("dropped", 0, `1`))
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}

	// use opens the store with a schema and loads.
	use := func(schema store.Schema) (store.LeasedStore, []store.Document, error) {
		s, err := b.open(b.place.Location, schema)
		if err != nil {
			return nil, nil, err
		}
		docs, err := s.Load(b.Context())
		return s, docs, err
	}
	failing := store.Schema{WrittenBy: "2.0.0", Migrations: []store.Migration{
		renamed, func([]store.Document) ([]store.Document, error) { return nil, errMigration },
	}}
	if s, _, err := use(failing); !errors.Is(err, errMigration) {
		b.Fatalf("a migration that fails: %v", err)
	} else if s != nil {
		_ = s.Close()
	}
	s = b.store()
	b.holds(s, at(kept, revisions[0]), at(write("dropped", 0, `1`), revisions[1]))
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}

	second := store.Schema{WrittenBy: "2.0.0", Migrations: []store.Migration{renamed}}
	want := []store.Document{
		{Name: "added", Revision: 1, Body: []byte(`"new"`), Sealed: []byte("s")},
		{Name: "v2/kept", Revision: revisions[0], Body: []byte(`"new"`), Sealed: []byte("secret")},
	}
	for range 2 { // the second time there is nothing to migrate
		s, docs, err := use(second)
		if err == nil {
			err = same(docs, want)
		}
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}

	old, _, err := use(store.Schema{WrittenBy: "1.0.0"})
	if errdefs.ClassOf(err) != errdefs.FailedPrecondition || !strings.Contains(err.Error(), "1.0.0") || !strings.Contains(err.Error(), "2.0.0") {
		b.Errorf("a newer format: %v; want failed precondition that names both versions", err)
	}
	if old != nil {
		b.refuses(old, errdefs.FailedPrecondition, write("x", 0, `1`))
		_ = old.Close()
	}
}
