// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// use opens a store that is closed with the test. The server may be away.
func use(t *testing.T, cfg redis.Config) *redis.Store {
	t.Helper()
	if cfg.Instance == "" {
		cfg.Instance = "dpu-1"
	}
	s, err := redis.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func doc(name, body string) store.Write {
	return store.Write{Document: store.Document{Name: name, Body: []byte(body)}}
}

func commit(t *testing.T, s store.Store, w store.Write) error {
	t.Helper()
	_, err := s.Commit(t.Context(), []store.Write{w})
	return err
}

func names(t *testing.T, s store.Store) string {
	t.Helper()
	docs, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range docs {
		all = append(all, d.Name)
	}
	return strings.Join(all, " ")
}

// TestAwayAndBack: a store can be made while the server is away, says so in each call, and works as
// soon as the server is there, also after a restart that lost the scripts.
func TestAwayAndBack(t *testing.T) {
	server := testkit.Redis(t)
	server.Stop()
	s := use(t, redis.Config{URL: "redis://user:pass-word@" + server.Addr() + "/0"})
	away := func() {
		t.Helper()
		_, loadErr := s.Load(t.Context())
		_, durabilityErr := s.Durability(t.Context())
		_, leaseErr := s.Acquire(t.Context(), "me", time.Minute)
		for _, err := range []error{loadErr, durabilityErr, leaseErr, commit(t, s, doc("none", `1`))} {
			if errdefs.ClassOf(err) != errdefs.Unavailable || !strings.Contains(err.Error(), server.Addr()) || strings.Contains(err.Error(), "pass-word") {
				t.Errorf("server away: %v; want unavailable, naming %s and no password", err, server.Addr())
			}
		}
	}
	away()
	server.Start()
	s = use(t, redis.Config{URL: "redis://" + server.Addr()})
	for _, name := range []string{"a", "b", "c"} {
		if err := commit(t, s, doc(name, `1`)); err != nil {
			t.Fatalf("server back: %v", err)
		}
		server.Kill()
		away()
		server.Start()
	}
	if got := names(t, s); got != "a b c" {
		t.Errorf("after restarts: %s", got)
	}
}

// TestFrozen: a server that does not answer holds nobody longer than the deadline, and a commit that
// it got is not called undone.
func TestFrozen(t *testing.T) {
	server := testkit.Redis(t)
	s := use(t, redis.Config{URL: "redis://" + server.Addr()})
	if err := commit(t, s, doc("before", `1`)); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.Commit(ctx, []store.Write{doc("during", `1`)})
	if errdefs.ClassOf(err) != errdefs.OutcomeUnknown {
		t.Errorf("commit: %v, want outcome unknown", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Load(ctx); errdefs.ClassOf(err) != errdefs.DeadlineExceeded {
		t.Errorf("load: %v, want deadline exceeded", err)
	}
	canceled, giveUp := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := s.Commit(canceled, []store.Write{doc("given up", `1`)}); errdefs.ClassOf(err) != errdefs.OutcomeUnknown {
			t.Errorf("commit that was given up: %v, want outcome unknown", err)
		}
	})
	testkit.Eventually(t, "the server gets that commit", func() error {
		if !s.Sending(2) {
			return errors.New("not yet")
		}
		return nil
	})
	giveUp()
	waiting.Wait()
	server.Resume()
	// Each of the two has happened, or will not.
	first := names(t, s)
	if err := commit(t, s, doc("last", `1`)); err != nil {
		t.Fatal(err)
	}
	if then := strings.Replace(names(t, s), " last", "", 1); then != first {
		t.Errorf("the store held %q, and then %q", first, then)
	}
}

// TestReadable: keys and values are those of the schema in the package comment of store.
func TestReadable(t *testing.T) {
	server := testkit.Redis(t)
	s := use(t, redis.Config{URL: "redis://" + server.Addr(), Instance: "dpu-1", Schema: store.Schema{WrittenBy: "1.2.3"}})
	other := use(t, redis.Config{URL: "redis://" + server.Addr(), Instance: "dpu-2"})
	w := doc("mallocVolumes/m0", `{"state":"READY"}`)
	w.Sealed = []byte("v1:key:box")
	if err := errors.Join(commit(t, s, w), commit(t, other, doc("elsewhere", `{}`))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Acquire(t.Context(), "host/1", time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ want, key, field string }{
		{"1", "meta", "format"},
		{"1.2.3", "meta", "written_by"},
		{"1", "meta", "revision"},
		{`{"revision":1,"body":{"state":"READY"}}`, "documents", "mallocVolumes/m0"},
		{"v1:key:box", "sealed", "mallocVolumes/m0"},
		{"host/1", "lease", "holder"},
	} {
		if got := server.CLI("HGET", "opi-bridge:{dpu-1}:"+row.key, row.field); got != row.want {
			t.Errorf("%s of %s is %q, want %q", row.field, row.key, got, row.want)
		}
	}
	if got := names(t, s); got != "mallocVolumes/m0" {
		t.Errorf("documents of the instance: %s", got)
	}

	// By hand: written with other blanks it is read and changed; written wrong it is named.
	server.CLI("HSET", "opi-bridge:{dpu-1}:documents", "mallocVolumes/m0", `{ "revision": 7, "body": {"by":"hand"} }`)
	w.Base = 7
	if err := commit(t, s, w); err != nil {
		t.Errorf("a value written by hand: %v", err)
	}
	for _, value := range []string{"nonsense", "", "{}", `{"revision":0,"body":1}`, `{"revision":07,"body":1}`, `{"revision":-7,"body":1}`} {
		server.CLI("HSET", "opi-bridge:{dpu-1}:documents", "mallocVolumes/m0", value)
		_, err := s.Load(t.Context())
		for _, err := range []error{err, commit(t, s, w)} {
			if errdefs.ClassOf(err) != errdefs.Internal || !strings.Contains(err.Error(), "mallocVolumes/m0") {
				t.Errorf("the value %q, which is no document: %v", value, err)
			}
		}
	}
}

// TestPassword: wrong ones are refused without being shown; one in a file may change.
func TestPassword(t *testing.T) {
	server := testkit.Redis(t, "--requirepass", "right-one")
	file := filepath.Join(t.TempDir(), "password")
	for _, row := range []struct {
		url string
		ok  bool
	}{
		{"redis://:right-one@" + server.Addr(), true},
		{"redis://:wrong-one@" + server.Addr(), false},
		{"redis://" + server.Addr(), false},
	} {
		err := commit(t, use(t, redis.Config{URL: row.url, Instance: "url"}), doc("a", `1`))
		if row.ok && err != nil || !row.ok && (errdefs.ClassOf(err) != errdefs.Unavailable || strings.Contains(err.Error(), "wrong-one")) {
			t.Errorf("%s: %v", row.url, err)
		}
	}
	s := use(t, redis.Config{URL: "redis://" + server.Addr() + "?password_file=" + file, Instance: "file"})
	if err := commit(t, s, doc("a", `1`)); errdefs.ClassOf(err) != errdefs.Unavailable || !strings.Contains(err.Error(), file) {
		t.Errorf("no password file: %v", err)
	}
	for _, password := range []string{"wrong-one\n", "right-one\n"} {
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := commit(t, s, doc(password[:1], `1`)); (err == nil) != strings.HasPrefix(password, "right") {
			t.Errorf("password %q in the file: %v", password, err)
		}
	}
}

// TestFull: a server without memory left refuses, and nothing is written.
func TestFull(t *testing.T) {
	server := testkit.Redis(t)
	s := use(t, redis.Config{URL: "redis://" + server.Addr()})
	if err := commit(t, s, doc("a", `1`)); err != nil {
		t.Fatal(err)
	}
	server.CLI("CONFIG", "SET", "maxmemory", "1kb")
	if err := commit(t, s, doc("b", `1`)); errdefs.ClassOf(err) != errdefs.ResourceExhausted {
		t.Errorf("got %v", err)
	}
	if got := names(t, s); got != "a" {
		t.Errorf("documents: %s", got)
	}
}

// TestEmptied: a server that lost its data takes neither changes on old revisions nor old leases.
func TestEmptied(t *testing.T) {
	server := testkit.Redis(t)
	s := use(t, redis.Config{URL: "redis://" + server.Addr()})
	lease, err := s.Acquire(t.Context(), "me", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w := doc("a", `1`)
	if err := commit(t, s.WithFence(lease.Token), w); err != nil {
		t.Fatal(err)
	}
	server.CLI("FLUSHALL")
	if err := commit(t, s.WithFence(lease.Token), w); errdefs.ClassOf(err) != errdefs.FailedPrecondition {
		t.Errorf("an old lease: %v", err)
	}
	w.Base = 1
	if err := commit(t, s, w); errdefs.ClassOf(err) != errdefs.Aborted {
		t.Errorf("an old revision: %v", err)
	}
	if again, err := s.Acquire(t.Context(), "you", time.Hour); err != nil || again.Token <= lease.Token {
		t.Errorf("token %d after %d, %v", again.Token, lease.Token, err)
	}
}
