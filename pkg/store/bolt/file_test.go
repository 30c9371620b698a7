// SPDX-License-Identifier: Apache-2.0

package bolt_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
)

func use(t *testing.T, cfg bolt.Config) *bolt.Store {
	t.Helper()
	s, err := bolt.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func doc(name, body string) store.Write {
	return store.Write{Document: store.Document{Name: name, Body: []byte(body)}}
}

// TestLocked: the file belongs to one store at a time, and the refusal says so.
func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	first := use(t, bolt.Config{URL: "bolt://" + path})
	_, err := bolt.New(bolt.Config{URL: "bolt://" + path, LockTimeout: time.Millisecond})
	if errdefs.ClassOf(err) != errdefs.FailedPrecondition || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened twice: %v", err)
	}
	if who := fmt.Sprintf("pid %d", os.Getpid()); runtime.GOOS == "linux" && !strings.Contains(fmt.Sprint(err), who) {
		t.Errorf("opened twice: %v; want it to name %s", err, who)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	use(t, bolt.Config{URL: "bolt://" + path})
}

// TestLeaseOfTheDead: whoever gets the lock on the file knows that the last holder is gone.
func TestLeaseOfTheDead(t *testing.T) {
	url := "bolt://" + filepath.Join(t.TempDir(), "state.db")
	first := use(t, bolt.Config{URL: url})
	if _, err := first.Acquire(t.Context(), "one", time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if lease, err := use(t, bolt.Config{URL: url}).Acquire(t.Context(), "two", time.Hour); err != nil || lease.Token != 2 {
		t.Errorf("got %+v, %v", lease, err)
	}
}

// TestIdle: a lease that is kept for long writes nothing, for the disk may be flash that wears.
func TestIdle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := use(t, bolt.Config{URL: "bolt://" + path})
	lease, err := s.Acquire(t.Context(), "one", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := s.Renew(t.Context(), lease); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("renewing the lease has written to the file (%v)", err)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	use(t, bolt.Config{URL: "bolt://" + filepath.Join(dir, "state.db")})
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Dir(dir): 0o700, filepath.Join(dir, "state.db"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

// TestFull: a commit that does not fit is refused and leaves nothing, and there is room again after a
// deletion.
func TestFull(t *testing.T) {
	s := use(t, bolt.Config{URL: "bolt://" + filepath.Join(t.TempDir(), "state.db"), MaxBytes: 1 << 20})
	big := strconv.Quote(strings.Repeat("x", 100<<10))
	revisions := map[string]uint64{}
	for i := 0; ; i++ {
		name := "big/" + strconv.Itoa(i)
		got, err := s.Commit(t.Context(), []store.Write{doc(name, big)})
		if err != nil {
			if errdefs.ClassOf(err) != errdefs.ResourceExhausted {
				t.Errorf("full: %v", err)
			}
			break
		}
		revisions[name] = got[0]
	}
	docs, err := s.Load(t.Context())
	if err != nil || len(docs) != len(revisions) || len(docs) == 0 {
		t.Errorf("%d documents after %d commits, %v", len(docs), len(revisions), err)
	}
	for _, d := range docs {
		if _, err := s.Commit(t.Context(), []store.Write{{Document: store.Document{Name: d.Name}, Base: d.Revision, Delete: true}}); err != nil {
			t.Errorf("delete %s of a full store: %v", d.Name, err)
		}
	}
	if _, err := s.Commit(t.Context(), []store.Write{doc("again", big)}); err != nil {
		t.Errorf("after the deletions: %v", err)
	}
}

// TestGrouped: commits that wait at the same time are all done, each with its own outcome.
func TestGrouped(t *testing.T) {
	s := use(t, bolt.Config{URL: "bolt://" + filepath.Join(t.TempDir(), "state.db")})
	const n = 500
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			w := doc("d/"+strconv.Itoa(i), strconv.Itoa(i))
			if i%5 == 0 {
				w.Base = 99_999
			}
			if _, err := s.Commit(t.Context(), []store.Write{w}); (i%5 == 0) != (errdefs.ClassOf(err) == errdefs.Aborted) {
				t.Errorf("commit %d: %v", i, err)
			}
		})
	}
	all.Wait()
	seen := make(map[uint64]bool)
	docs, err := s.Load(t.Context())
	for _, d := range docs {
		seen[d.Revision] = true
	}
	if err != nil || len(docs) != n*4/5 || len(seen) != len(docs) {
		t.Errorf("%d documents with %d revisions, %v; want %d", len(docs), len(seen), err, n*4/5)
	}
}

func TestRefusedFiles(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte(strings.Repeat("no database ", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		url   string
		class errdefs.Class
		says  string
	}{
		{"bolt://" + junk, errdefs.Unavailable, junk},
		{"bolt://" + dir, errdefs.Unavailable, dir},
		{"bolt://" + junk + "/below", errdefs.Unavailable, junk},
		{"", errdefs.InvalidArgument, "bolt:///"},
		{"bolt://host/path", errdefs.InvalidArgument, "bolt:///"},
		{"bolt:", errdefs.InvalidArgument, "bolt:///"},
		{"file:///x", errdefs.InvalidArgument, "bolt:///"},
		{"bolt:///x?y=1", errdefs.InvalidArgument, "bolt:///"},
	} {
		if _, err := bolt.New(bolt.Config{URL: row.url}); errdefs.ClassOf(err) != row.class || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%q: %v, want class %q and %q", row.url, err, row.class, row.says)
		}
	}
}

// TestFixture opens a file that was written by format 1.
func TestFixture(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("testdata", "format1.db"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s := use(t, bolt.Config{URL: "bolt://" + path, Schema: store.Schema{WrittenBy: "later"}})
	docs, err := s.Load(t.Context())
	if err != nil || len(docs) != 2 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	if d := docs[0]; d.Name != "mallocVolumes/m0" || d.Revision != 3 || string(d.Body) != `{"state":"READY"}` || d.Sealed != nil {
		t.Errorf("first: %+v", d)
	}
	if d := docs[1]; d.Name != "nvmeRemoteControllers/c0" || d.Revision != 2 || string(d.Body) != `{"state":"CREATING"}` || string(d.Sealed) != "v1:key:box" {
		t.Errorf("second: %+v", d)
	}
	if lease, err := s.Acquire(t.Context(), "now", time.Hour); err != nil || lease.Token != 2 {
		t.Errorf("lease %+v, %v", lease, err)
	}
	if got, err := s.Commit(t.Context(), []store.Write{doc("new", `1`)}); err != nil || got[0] != 4 {
		t.Errorf("next revision %v, %v", got, err)
	}
}
