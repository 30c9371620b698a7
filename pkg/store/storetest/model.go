// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"strconv"

	"pgregory.net/rapid"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// testModel draws lists of commits, with and without conflicts, and reopenings, and compares with a
// plain map after each.
func testModel(b *bench) {
	s := b.store()
	rapid.Check(b.T, func(t *rapid.T) {
		ctx := context.Background()
		model := make(map[string]store.Document)
		docs, err := s.Load(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range docs {
			if _, err := s.Commit(ctx, []store.Write{remove(d.Name, d.Revision)}); err != nil {
				t.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "reopen") == 0 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = b.store()
			}
			step(t, s, model)
			docs, err := s.Load(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range docs {
				if err := same([]store.Document{d}, []store.Document{model[d.Name]}); err != nil {
					t.Fatal(err)
				}
			}
			if len(docs) != len(model) {
				t.Fatalf("%d documents, the model has %d", len(docs), len(model))
			}
		}
	})
}

// step draws one commit and does it to both.
func step(t *rapid.T, s store.Store, model map[string]store.Document) {
	var writes []store.Write
	fits := true
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, 3), 1, 3, rapid.ID[int]).Draw(t, "names") {
		name := "document/" + strconv.Itoa(i)
		base := model[name].Revision
		if rapid.IntRange(0, 5).Draw(t, "stale") == 0 {
			base += rapid.Uint64Range(1, 3).Draw(t, "off")
			fits = false
		}
		w := write(name, base, strconv.Itoa(rapid.Int().Draw(t, "body")))
		if rapid.Bool().Draw(t, "has secrets") {
			w.Sealed = rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "sealed")
		}
		w.Delete = base != 0 && rapid.IntRange(0, 2).Draw(t, "delete") == 0
		writes = append(writes, w)
	}
	revisions, err := s.Commit(context.Background(), writes)
	if !fits {
		if errdefs.ClassOf(err) != errdefs.Aborted {
			t.Fatalf("commit on wrong revisions: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range writes {
		if w.Delete {
			delete(model, w.Name)
		} else {
			model[w.Name] = at(w, revisions[i])
		}
	}
}
