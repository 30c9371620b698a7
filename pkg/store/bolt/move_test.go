// SPDX-License-Identifier: Apache-2.0

package bolt_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
)

// TestRestoreMigrates: what was exported by an older version comes out in the present format, and what a
// newer one exported is refused with both versions.
func TestRestoreMigrates(t *testing.T) {
	url := "bolt://" + filepath.Join(t.TempDir(), "state.db")
	second := store.Schema{WrittenBy: "2.0", Migrations: []store.Migration{func(docs []store.Document) ([]store.Document, error) {
		for i := range docs {
			docs[i].Body = []byte(`"new"`)
		}
		return docs, nil
	}}}
	m := store.Image{Format: 1, WrittenBy: "1.0", Revision: 5, Documents: []store.Document{{Name: "a", Revision: 3, Body: []byte(`"old"`)}}}
	if err := bolt.Restore(bolt.Config{URL: url, Schema: second}, m, false); err != nil {
		t.Fatal(err)
	}
	got, err := bolt.Dump(bolt.Config{URL: url, Schema: second})
	if err != nil || got.Format != 2 || got.WrittenBy != "2.0" || got.Revision != 5 || len(got.Documents) != 1 || string(got.Documents[0].Body) != `"new"` {
		t.Errorf("got %+v, %v", got, err)
	}
	first := store.Schema{WrittenBy: "1.0"}
	refused := bolt.Restore(bolt.Config{URL: "bolt://" + filepath.Join(t.TempDir(), "other.db"), Schema: first}, got, false)
	_, unread := bolt.Dump(bolt.Config{URL: url, Schema: first})
	for _, err := range []error{refused, unread} {
		if errdefs.ClassOf(err) != errdefs.FailedPrecondition || !strings.Contains(err.Error(), `"1.0"`) || !strings.Contains(err.Error(), `"2.0"`) {
			t.Errorf("a newer format: %v", err)
		}
	}
}
