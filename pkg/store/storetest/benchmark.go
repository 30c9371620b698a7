// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// Benchmark measures commits of one new document of 400 bytes, one at a time and 256 in flight, and
// loads of 10,000 documents.
func Benchmark(b *testing.B, open Open, place Place) {
	s, err := open(place.Location, store.Schema{WrittenBy: "1.0.0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	body := `{"text":"` + strings.Repeat("x", 389) + `"}`
	var number atomic.Int64
	commit := func(b *testing.B) {
		if _, err := s.Commit(b.Context(), []store.Write{write("bench/"+strconv.FormatInt(number.Add(1), 10), 0, body)}); err != nil {
			b.Error(err)
		}
	}
	b.Run("Commit", func(b *testing.B) {
		for b.Loop() {
			commit(b)
		}
	})
	b.Run("Commit256", func(b *testing.B) {
		slots := make(chan struct{}, 256)
		for b.Loop() {
			slots <- struct{}{}
			go func() {
				commit(b)
				<-slots
			}()
		}
		for range cap(slots) {
			slots <- struct{}{}
		}
	})
	b.Run("Load10000", func(b *testing.B) {
		docs, err := s.Load(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		var writes []store.Write
		for i, d := range docs { // exactly 10,000, however many there are from before
			if i >= 10_000 {
				writes = append(writes, remove(d.Name, d.Revision))
			}
		}
		for i := len(docs); i < 10_000; i++ {
			writes = append(writes, write("load/"+strconv.Itoa(i), 0, body))
		}
		if _, err := s.Commit(b.Context(), writes); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if docs, err := s.Load(b.Context()); err != nil || len(docs) != 10_000 {
				b.Fatal(len(docs), err)
			}
		}
	})
}
