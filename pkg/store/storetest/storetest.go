// SPDX-License-Identifier: Apache-2.0

// Package storetest holds what every store must do: a suite over the interface ([Run]), crash tests
// with a writer in a process of its own ([Main]), and a wrapper that makes calls fail ([Faulty]).
// Only tests import it.
package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// Place is storage for one test: empty at first, it outlives the stores that are opened on it.
type Place struct {
	// Location tells an Open, also one in another process, where the storage is.
	Location string
	// Crash kills the server behind the storage and starts it again; nil when there is none.
	Crash func()
}

// Open opens a store on a location.
type Open func(location string, schema store.Schema) (store.LeasedStore, error)

// Run runs the suite. The test binary must end in [Main].
func Run(t *testing.T, open Open, newPlace func(t *testing.T) Place) {
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"Documents", testDocuments},
		{"Names", testNames},
		{"Refused", testRefused},
		{"CompareAndSet", testCompareAndSet},
		{"AllOrNothing", testAllOrNothing},
		{"Reopen", testReopen},
		{"Big", testBig},
		{"Ownership", testOwnership},
		{"OneWinner", testOneWinner},
		{"Snapshot", testSnapshot},
		{"Context", testContext},
		{"Durability", testDurability},
		{"Lease", testLease},
		{"Fence", testFence},
		{"Format", testFormat},
		{"Model", testModel},
		{"WriterCrash", testWriterCrash},
		{"ServerCrash", testServerCrash},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test(&bench{T: t, open: open, place: newPlace(t)})
		})
	}
}

// bench is one test with its storage.
type bench struct {
	*testing.T
	open  Open
	place Place
}

// store opens a store that is closed with the test.
func (b *bench) store() store.LeasedStore {
	b.Helper()
	s, err := b.open(b.place.Location, store.Schema{WrittenBy: "1.0.0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// put writes and returns the revisions; the test ends when that fails.
func (b *bench) put(s store.Store, writes ...store.Write) []uint64 {
	b.Helper()
	revisions, err := s.Commit(b.Context(), writes)
	if err != nil {
		b.Fatalf("commit: %v", err)
	}
	if len(revisions) != len(writes) {
		b.Fatalf("%d revisions for %d writes", len(revisions), len(writes))
	}
	return revisions
}

// holds checks that the store holds exactly these documents.
func (b *bench) holds(s store.Store, want ...store.Document) {
	b.Helper()
	got, err := s.Load(b.Context())
	if err != nil {
		b.Fatalf("load: %v", err)
	}
	want = slices.Clone(want)
	slices.SortFunc(want, func(x, y store.Document) int { return cmp.Compare(x.Name, y.Name) })
	if err := same(got, want); err != nil {
		b.Fatal(err)
	}
}

// refuses checks that the commit gives an error of the class.
func (b *bench) refuses(s store.Store, class errdefs.Class, writes ...store.Write) {
	b.Helper()
	revisions, err := s.Commit(b.Context(), writes)
	if errdefs.ClassOf(err) != class || revisions != nil {
		b.Fatalf("commit gave %v, %v; want an error of class %q", revisions, err, class)
	}
}

func same(got, want []store.Document) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d documents, want %d", len(got), len(want))
	}
	for i, d := range got {
		w := want[i]
		switch {
		case d.Name != w.Name:
			return fmt.Errorf("document %d is %q, want %q", i, d.Name, w.Name)
		case d.Revision != w.Revision:
			return fmt.Errorf("document %q has revision %d, want %d", d.Name, d.Revision, w.Revision)
		case string(d.Body) != string(w.Body):
			return fmt.Errorf("body of %q is %.100q, want %.100q", d.Name, d.Body, w.Body)
		case string(d.Sealed) != string(w.Sealed) || (d.Sealed == nil) != (w.Sealed == nil):
			return fmt.Errorf("secrets of %q are %.100q, want %.100q", d.Name, d.Sealed, w.Sealed)
		}
	}
	return nil
}

// write returns a write of a body.
func write(name string, base uint64, body string) store.Write {
	return store.Write{Document: store.Document{Name: name, Body: []byte(body)}, Base: base}
}

// remove returns a deletion.
func remove(name string, base uint64) store.Write {
	return store.Write{Document: store.Document{Name: name}, Base: base, Delete: true}
}

// at returns the document that a write leaves behind.
func at(w store.Write, revision uint64) store.Document {
	w.Revision = revision
	return w.Document
}

// errEnded is the cause of contexts that the suite ends.
var errEnded = errors.New("ended by the test")

// canceled returns a context that has ended.
func (b *bench) canceled() context.Context {
	ctx, cancel := context.WithCancelCause(b.Context())
	cancel(errEnded)
	return ctx
}
