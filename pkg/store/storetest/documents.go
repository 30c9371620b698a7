// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

func testDocuments(b *bench) {
	s := b.store()
	b.holds(s)
	plain, sealed := write("mallocVolumes/m0", 0, `{"size": 10,  "z":[1]}`), write("a", 0, `{}`)
	sealed.Sealed = []byte("v1:k:\x00\xff binary")
	revisions := b.put(s, plain, sealed)
	if revisions[0] == 0 || revisions[0] == revisions[1] {
		b.Fatalf("revisions %v: want numbers above 0 that differ", revisions)
	}
	b.holds(s, at(plain, revisions[0]), at(sealed, revisions[1]))

	// Secrets come and go with the document that carries them.
	opened, closed := write("a", revisions[1], `{"n":1}`), write("mallocVolumes/m0", revisions[0], `[]`)
	closed.Sealed = []byte{}
	next := b.put(s, opened, closed)
	if next[0] <= revisions[1] || next[1] <= revisions[1] {
		b.Fatalf("revisions %v after %v: want higher ones", next, revisions)
	}
	b.holds(s, at(opened, next[0]), at(closed, next[1]))

	gone := b.put(s, remove("a", next[0]), remove("mallocVolumes/m0", next[1]))
	b.holds(s)
	again := b.put(s, write("a", 0, `1`), write("mallocVolumes/m0", 0, `"text"`))
	if again[0] <= gone[1] {
		b.Fatalf("revision %d for a document that was deleted at %d: want a higher one", again[0], gone[1])
	}
	b.put(s)
	b.holds(s, at(write("a", 0, `1`), again[0]), at(write("mallocVolumes/m0", 0, `"text"`), again[1]))
}

func testNames(b *bench) {
	s := b.store()
	var writes []store.Write
	for _, name := range []string{
		"nvmeSubsystems/s/nvmeNamespaces/n", "with space", "ünïcödé/日本語/🙂", "a:b{c}d*e?[f]", `quote"back\slash`,
		"line\nbreak\ttab", "\x00nul\x00", "..", "/", "//x/", "%2F", "A", "a", strings.Repeat("x", store.MaxNameBytes), "-1", "0",
	} {
		w := write(name, 0, strconv.Quote("body"))
		w.Sealed = []byte("secret of " + name)
		writes = append(writes, w)
	}
	var want []store.Document
	for i, revision := range b.put(s, writes...) {
		want = append(want, at(writes[i], revision))
	}
	b.holds(s, want...)
}

func testRefused(b *bench) {
	s := b.store()
	long := strings.Repeat("x", store.MaxNameBytes+1)
	huge := strconv.Quote(strings.Repeat("x", store.MaxDocumentBytes))
	sealed := write("sealed", 0, `{}`)
	sealed.Sealed = make([]byte, store.MaxDocumentBytes+1)
	for _, row := range []struct {
		what   string
		class  errdefs.Class
		writes []store.Write
	}{
		{"no name", errdefs.InvalidArgument, []store.Write{write("", 0, `{}`)}},
		{"name that is not UTF-8", errdefs.InvalidArgument, []store.Write{write("a\xffb", 0, `{}`)}},
		{"long name", errdefs.ResourceExhausted, []store.Write{write(long, 0, `{}`)}},
		{"huge body", errdefs.ResourceExhausted, []store.Write{write("huge", 0, huge)}},
		{"huge secrets", errdefs.ResourceExhausted, []store.Write{sealed}},
		{"body that is not JSON", errdefs.Internal, []store.Write{write("a", 0, `{`)}},
		{"no body", errdefs.Internal, []store.Write{write("a", 0, ``)}},
		{"same name twice", errdefs.Internal, []store.Write{write("a", 0, `{}`), write("a", 0, `{}`)}},
		{"deletion without base", errdefs.Internal, []store.Write{remove("a", 0)}},
	} {
		b.Log(row.what)
		b.refuses(s, row.class, append([]store.Write{write("bystander", 0, `{}`)}, row.writes...)...)
	}
	b.holds(s)
}

func testCompareAndSet(b *bench) {
	s := b.store()
	first := write("nullVolumes/n", 0, `{"n":1}`)
	revision := b.put(s, first)[0]
	for _, w := range []store.Write{
		write("nullVolumes/n", 0, `2`), write("nullVolumes/n", revision+1, `2`), write("nullVolumes/n", 1<<60, `2`), write("nullVolumes/none", revision, `2`),
		remove("nullVolumes/n", revision+1), remove("nullVolumes/none", revision),
	} {
		b.refuses(s, errdefs.Aborted, w)
		if _, err := s.Commit(b.Context(), []store.Write{w}); err == nil || !strings.Contains(err.Error(), w.Name) {
			b.Errorf("the error does not name %s: %v", w.Name, err)
		}
	}
	b.holds(s, at(first, revision))
	second := write("nullVolumes/n", revision, `{"n":2}`)
	b.holds(s, at(second, b.put(s, second)[0]))
	b.refuses(s, errdefs.Aborted, second)
}

func testAllOrNothing(b *bench) {
	s := b.store()
	kept := write("kept", 0, `1`)
	kept.Sealed = []byte("secret")
	revision := b.put(s, kept)[0]
	for position := range 3 {
		writes := []store.Write{write("new", 0, `1`), remove("kept", revision)}
		writes = append(writes[:min(position, 2)], append([]store.Write{write("missing", 77, `1`)}, writes[min(position, 2):]...)...)
		b.refuses(s, errdefs.Aborted, writes...)
		b.holds(s, at(kept, revision))
	}
}

func testReopen(b *bench) {
	s := b.store()
	w := write("a/b", 0, `{"k":"v"}`)
	w.Sealed = []byte("secret")
	revision := b.put(s, w)[0]
	gone := b.put(s, remove("temporary", b.put(s, write("temporary", 0, `1`))[0]))[0]
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for _, call := range []func() error{
		func() error { _, err := s.Load(b.Context()); return err },
		func() error { _, err := s.Commit(b.Context(), []store.Write{write("x", 0, `1`)}); return err },
	} {
		if err := call(); errdefs.ClassOf(err) != errdefs.Unavailable {
			b.Errorf("a call after Close: %v", err)
		}
	}
	s = b.store()
	b.holds(s, at(w, revision))
	if again := b.put(s, write("temporary", 0, `2`))[0]; again <= gone {
		b.Errorf("revision %d after reopening, want one above %d", again, gone)
	}
}

func testBig(b *bench) {
	s := b.store()
	big := write("big", 0, strconv.Quote(strings.Repeat("0123456789abcdef", 256<<10))) // 4 MiB
	big.Sealed = bytes.Repeat([]byte{0, 1, 2, 255}, 64<<10)
	want := []store.Document{at(big, b.put(s, big)[0])}
	var many []store.Write
	for i := range 2000 {
		many = append(many, write("many/"+strconv.Itoa(i), 0, `{"text":"`+strings.Repeat("x", 300)+`"}`))
	}
	for i, revision := range b.put(s, many...) {
		want = append(want, at(many[i], revision))
	}
	b.holds(s, want...)
}

// testOwnership: what was passed in or out may be changed by the caller afterwards.
func testOwnership(b *bench) {
	s := b.store()
	w := write("a", 0, `{"k":1}`)
	w.Sealed = []byte("secret")
	revision := b.put(s, w)[0]
	w.Body[5], w.Sealed[0] = 'X', 'X'
	docs, err := s.Load(b.Context())
	if err != nil || len(docs) != 1 {
		b.Fatal(docs, err)
	}
	docs[0].Body[5], docs[0].Sealed[0] = 'Y', 'Y'
	b.holds(s, store.Document{Name: "a", Revision: revision, Body: []byte(`{"k":1}`), Sealed: []byte("secret")})
}

// testOneWinner: of those that base a change on the same revision, one gets through.
func testOneWinner(b *bench) {
	s := b.store()
	const writers, rounds = 16, 10
	revision := b.put(s, write("counter", 0, `0`))[0]
	for round := range rounds {
		var winners, losers atomic.Int32
		var next atomic.Uint64
		var all sync.WaitGroup
		for i := range writers {
			all.Go(func() {
				own := write("own/"+strconv.Itoa(round)+"/"+strconv.Itoa(i), 0, `1`)
				revisions, err := s.Commit(b.Context(), []store.Write{own, write("counter", revision, strconv.Itoa(i))})
				switch {
				case err == nil:
					winners.Add(1)
					next.Store(revisions[1])
				case errors.Is(err, errdefs.Aborted):
					losers.Add(1)
				default:
					b.Error(err)
				}
			})
		}
		all.Wait()
		if winners.Load() != 1 || losers.Load() != writers-1 {
			b.Fatalf("round %d: %d winners and %d losers of %d", round, winners.Load(), losers.Load(), writers)
		}
		revision = next.Load()
	}
	docs, err := s.Load(b.Context())
	if err != nil || len(docs) != rounds+1 {
		b.Errorf("%d documents, %v; want the counter and one for each of %d rounds", len(docs), err, rounds)
	}
}

// testSnapshot: a load never sees half of a commit.
func testSnapshot(b *bench) {
	s := b.store()
	revisions := b.put(s, write("left", 0, `0`), write("right", 0, `0`))
	ctx, stop := context.WithCancel(b.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			var err error
			body := strconv.Itoa(i)
			revisions, err = s.Commit(b.Context(), []store.Write{write("left", revisions[0], body), write("right", revisions[1], body)})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	for range 200 {
		docs, err := s.Load(b.Context())
		if err != nil || len(docs) != 2 || !bytes.Equal(docs[0].Body, docs[1].Body) {
			b.Errorf("loaded %v, %v", docs, err)
			break
		}
	}
	stop()
	writer.Wait()
}

// testContext: a caller who has given up changes nothing.
func testContext(b *bench) {
	s := b.store()
	check := func(ctx context.Context, want errdefs.Class) {
		_, err := s.Commit(ctx, []store.Write{write("a", 0, `1`)})
		_, loadErr := s.Load(ctx)
		_, leaseErr := s.Acquire(ctx, "somebody", time.Minute)
		_, durabilityErr := s.Durability(ctx)
		for _, err := range []error{err, loadErr, leaseErr, durabilityErr} {
			if errdefs.ClassOf(err) != want {
				b.Errorf("got %v, want class %q", err, want)
			}
		}
	}
	past, cancel := context.WithDeadline(b.Context(), time.Unix(0, 0))
	defer cancel()
	check(b.canceled(), errdefs.Canceled)
	check(past, errdefs.DeadlineExceeded)
	b.holds(s)
}

// testDurability: the storage of the suite keeps what it acknowledges.
func testDurability(b *bench) {
	d, err := b.store().Durability(b.Context())
	if err != nil || !d.OK || d.Level != store.LevelSynced || d.Explanation == "" {
		b.Errorf("got %+v, %v", d, err)
	}
}
