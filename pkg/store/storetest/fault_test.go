// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
	"github.com/opi-bridge/opi-bridge/pkg/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t *testing.T) store.LeasedStore {
	t.Helper()
	s, err := bolt.New(bolt.Config{URL: "bolt://" + filepath.Join(t.TempDir(), "state.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func write(name string) []store.Write {
	return []store.Write{{Document: store.Document{Name: name, Body: []byte("1")}}}
}

func TestFaults(t *testing.T) {
	for _, row := range []struct {
		fault string
		class errdefs.Class
		done  bool
	}{
		{"commit#1:fail", errdefs.Unavailable, false},
		{"commit#1:lose-answer", errdefs.OutcomeUnknown, true},
		{"commit#1:lose-request", errdefs.OutcomeUnknown, false},
		{"any#2:lose-answer", errdefs.OutcomeUnknown, true},
	} {
		fault, err := storetest.ParseFault(row.fault)
		if err != nil || fault.String() != row.fault {
			t.Fatalf("%s parsed as %s, %v", row.fault, fault, err)
		}
		s := storetest.NewFaulty(newStore(t), fault)
		lease, err := s.Acquire(t.Context(), "me", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		fenced := s.WithFence(lease.Token)
		for i, want := range []errdefs.Class{"", row.class, ""} {
			if _, err := fenced.Commit(t.Context(), write(fmt.Sprint(i))); errdefs.ClassOf(err) != want {
				t.Errorf("%s, commit %d: %v", row.fault, i, err)
			}
		}
		docs, err := s.Load(t.Context())
		if err != nil || (len(docs) == 3) != row.done || s.Calls("commit") != 3 || s.Calls("any") != 5 || fmt.Sprint(s.Fired()) != "["+row.fault+"]" {
			t.Errorf("%s: %d documents, %v, %d commits, fired %v", row.fault, len(docs), err, s.Calls("commit"), s.Fired())
		}
	}
	for _, text := range []string{"", "commit", "commit#", "commit#x:fail", "commit#-1:fail", "commit#1:", "commit#1:break", "what#1:fail"} {
		if _, err := storetest.ParseFault(text); errdefs.ClassOf(err) != errdefs.InvalidArgument {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestRefusalIsNotLost(t *testing.T) {
	s := storetest.NewFaulty(newStore(t), storetest.Fault{Op: "commit", N: 1, Kind: storetest.LoseAnswer})
	for i, want := range []errdefs.Class{"", errdefs.Aborted} {
		if _, err := s.Commit(t.Context(), write("a")); errdefs.ClassOf(err) != want {
			t.Errorf("commit %d: %v", i, err)
		}
	}
}

func TestAway(t *testing.T) {
	s := storetest.NewFaulty(newStore(t))
	s.SetAway(true)
	_, loadErr := s.Load(t.Context())
	_, commitErr := s.Commit(t.Context(), write("a"))
	if !errors.Is(loadErr, errdefs.Unavailable) || !errors.Is(commitErr, errdefs.Unavailable) {
		t.Errorf("away: %v, %v", loadErr, commitErr)
	}
	s.SetAway(false)
	if docs, err := s.Load(t.Context()); err != nil || len(docs) != 0 {
		t.Errorf("back: %v, %v", docs, err)
	}
}

func TestObserved(t *testing.T) {
	var seen []string
	s := store.Observed(newStore(t), func(op string, took time.Duration, err error) {
		if took < 0 {
			t.Errorf("%s took %v", op, took)
		}
		seen = append(seen, op+" "+string(errdefs.ClassOf(err)))
	})
	lease, err := s.Acquire(t.Context(), "me", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	fenced := s.WithFence(lease.Token)
	for range 2 {
		_, _ = fenced.Commit(t.Context(), write("a")) // the hook sees how it went
	}
	_, _ = s.Load(t.Context())
	_, _ = s.Durability(t.Context())
	_, err = s.Renew(t.Context(), lease)
	if err := errors.Join(err, s.Release(t.Context(), lease)); err != nil {
		t.Error(err)
	}
	if got, want := fmt.Sprintf("%q", seen), `["acquire " "commit " "commit aborted" "load " "durability " "renew " "release "]`; got != want {
		t.Errorf("seen %s, want %s", got, want)
	}
}
