// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// logOf returns the path of the server's append-only file.
func logOf(t *testing.T, server *testkit.RedisServer) string {
	t.Helper()
	dir := strings.TrimPrefix(server.CLI("CONFIG", "GET", "dir"), "dir\n")
	for _, pattern := range []string{"appendonlydir/*.incr.aof", "appendonly.aof"} { // since 7.0, before
		if files, err := filepath.Glob(filepath.Join(dir, pattern)); err == nil && len(files) == 1 {
			return files[0]
		}
	}
	t.Fatalf("no append-only file below %s", dir)
	return ""
}

// tear cuts the log off within what was written to it since it was so long, just behind the last time
// that a word comes.
func tear(t *testing.T, log string, since int64, word string) {
	t.Helper()
	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.LastIndex(content[since:], []byte(word))
	if i < 0 {
		t.Fatalf("the log does not have %q: %q", word, content[since:])
	}
	if err := os.Truncate(log, since+int64(i+len(word))); err != nil {
		t.Fatal(err)
	}
}

// TestTornLog lets the server die in the middle of writing a commit to its log, and once more later: the
// commit does not happen, also not at the next start, and what is acknowledged after it stays.
func TestTornLog(t *testing.T) {
	for _, fresh := range []bool{false, true} {
		t.Run(fmt.Sprintf("new bridge %v, then a commit", fresh), func(t *testing.T) {
			w := newTorn(t, fresh)
			w.write("third", "lock")
			w.restart()
			w.expect("in the end", "first=1+key third=1+lock ")
		})
		t.Run(fmt.Sprintf("new bridge %v, then a lease", fresh), func(t *testing.T) {
			// What ends no transaction would be cut off with the one that is open.
			w := newTorn(t, fresh)
			lease, err := w.store.Acquire(t.Context(), "one", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			w.restart()
			w.expect("in the end", "first=1+key ")
			if _, err := w.store.Acquire(t.Context(), "two", time.Hour); errdefs.ClassOf(err) != errdefs.FailedPrecondition {
				t.Errorf("the lease of %+v is lost: %v", lease, err)
			}
		})
	}
}

// torn is a server of which the log was torn, and that was started again.
type torn struct {
	t      *testing.T
	server *testkit.RedisServer
	store  *redis.Store
	fresh  bool // a new bridge comes with each start
}

func newTorn(t *testing.T, fresh bool) *torn {
	t.Helper()
	w := &torn{t: t, server: testkit.Redis(t), fresh: fresh}
	log := logOf(t, w.server)
	w.store = use(t, redis.Config{URL: "redis://" + w.server.Addr()})
	w.write("first", "key")
	info, err := os.Stat(log)
	if err != nil {
		t.Fatal(err)
	}
	w.write("second", "half")
	w.server.Kill()
	tear(t, log, info.Size(), "hal") // within the last command of the transaction but one
	w.server.Start()
	w.expect("after the log was torn", "first=1+key ")
	return w
}

func (w *torn) restart() {
	w.t.Helper()
	w.server.Kill()
	w.server.Start()
}

func (w *torn) write(name, sealed string) {
	w.t.Helper()
	d := store.Document{Name: name, Body: []byte("1"), Sealed: []byte(sealed)}
	if _, err := w.store.Commit(w.t.Context(), []store.Write{{Document: d}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *torn) expect(when, want string) {
	w.t.Helper()
	if w.fresh {
		w.store = use(w.t, redis.Config{URL: "redis://" + w.server.Addr()})
	}
	var got string
	testkit.Eventually(w.t, when, func() error { // the first calls notice that the old connections are dead
		docs, err := w.store.Load(w.t.Context())
		got = ""
		for _, d := range docs {
			got += d.Name + "=" + string(d.Body) + "+" + string(d.Sealed) + " "
		}
		return err
	})
	if got != want {
		w.t.Errorf("%s the store holds %q, want %q", when, got, want)
	}
}

// TestTornLogThatCannotBeMended: a user who may not mend it hears of it.
func TestTornLogThatCannotBeMended(t *testing.T) {
	server := testkit.Redis(t, "--user", "bridge", "on", ">word", "~*", "+@all", "-restore")
	s := use(t, redis.Config{URL: "redis://bridge:word@" + server.Addr()})
	if err := commit(t, s, doc("first", `1`)); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Start()
	testkit.Eventually(t, "the server is back", func() error {
		d, err := s.Durability(t.Context())
		if err == nil && !strings.Contains(d.Explanation, "allow DUMP and RESTORE") {
			t.Errorf("durability: %+v", d)
		}
		return err
	})
	if err := commit(t, s, doc("second", `1`)); err != nil {
		t.Error(err)
	}
}
