// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestDurability: what the server is set to is what is said.
func TestDurability(t *testing.T) {
	everysec, says := store.LevelSeconds, "set appendfsync always"
	if testkit.Redis(t).CLI("COMMAND", "INFO", "WAITAOF") != "" { // from Redis 7.2 on
		everysec, says = store.LevelSynced, "WAITAOF"
	}
	for _, row := range []struct {
		settings []string
		level    store.Level
		says     string
	}{
		{nil, store.LevelSynced, "always"},
		{[]string{"--appendfsync", "everysec"}, everysec, says},
		{[]string{"--appendfsync", "no"}, store.LevelSeconds, "set appendfsync always"},
		{[]string{"--appendonly", "no"}, store.LevelNone, "set appendonly yes"},
		{[]string{"--appendonly", "no", "--save", "60 1"}, store.LevelNone, "set appendonly yes"},
		{[]string{"--maxmemory-policy", "allkeys-lru"}, store.LevelNone, "noeviction"},
		{[]string{"--maxmemory-policy", "volatile-lru"}, store.LevelSynced, "always"},
		{[]string{"--user", "default", "on", "nopass", "~*", "+@all", "-config"}, store.LevelUnknown, "CONFIG GET"},
		{[]string{"--user", "default", "on", "nopass", "~*", "+@all", "-config", "-info", "-command"}, store.LevelUnknown, "INFO"},
	} {
		url := "redis://" + testkit.Redis(t, row.settings...).Addr()
		s := use(t, redis.Config{URL: url})
		d, err := s.Durability(t.Context())
		if err != nil || d.Level != row.level || d.OK != (row.level == store.LevelSynced) || !strings.Contains(d.Explanation, row.says) {
			t.Errorf("settings %v: %+v, %v; want level %s and %q", row.settings, d, err, row.level, row.says)
		}
		if err := commit(t, s, doc("a", `1`)); err != nil {
			t.Errorf("settings %v: commit: %v", row.settings, err)
		}
		strict := use(t, redis.Config{URL: url, Durability: redis.Policy{Fsync: true}})
		err = commit(t, strict, doc("b", `1`))
		if sure := row.level == store.LevelSynced || strings.Contains(fmt.Sprint(row.settings), "allkeys"); sure != (err == nil) ||
			err != nil && (errdefs.ClassOf(err) != errdefs.Unavailable || !strings.Contains(err.Error(), row.says)) {
			t.Errorf("settings %v, durability fsync: %v", row.settings, err)
		}
		if got := names(t, s); (got == "a b") != (err == nil) {
			t.Errorf("settings %v: documents %s after %v", row.settings, got, err)
		}
	}
}

// TestEvicting: nobody gets the lease on a server that may throw the store away, until it is set right.
func TestEvicting(t *testing.T) {
	server := testkit.Redis(t, "--maxmemory-policy", "allkeys-lfu")
	s := use(t, redis.Config{URL: "redis://" + server.Addr()})
	if _, err := s.Acquire(t.Context(), "me", time.Hour); errdefs.ClassOf(err) != errdefs.Unavailable || !strings.Contains(err.Error(), "maxmemory-policy is allkeys-lfu") {
		t.Errorf("got %v", err)
	}
	server.CLI("CONFIG", "SET", "maxmemory-policy", "noeviction")
	if _, err := s.Acquire(t.Context(), "me", time.Hour); err != nil {
		t.Errorf("set right: %v", err)
	}
}

// TestReplicas: what no replica has confirmed is neither acknowledged nor shown; all of it is there when
// the replica is back.
func TestReplicas(t *testing.T) {
	server := testkit.Redis(t)
	replica := testkit.Replica(t, server)
	s := use(t, redis.Config{URL: "redis://" + server.Addr(), Durability: redis.Policy{Replicas: 1}, Timeout: 3 * time.Second})
	if err := commit(t, s, doc("a", `1`)); err != nil {
		t.Fatal(err)
	}
	if d, err := s.Durability(t.Context()); err != nil || !d.OK || !strings.Contains(d.Explanation, "1 of 1 replicas") {
		t.Errorf("durability: %+v, %v", d, err)
	}
	replica.Pause()
	if err := commit(t, s, doc("b", `1`)); errdefs.ClassOf(err) != errdefs.OutcomeUnknown || !strings.Contains(err.Error(), "0 of 1 replicas") {
		t.Errorf("the replica does not answer: %v", err)
	}
	if docs, err := s.Load(t.Context()); errdefs.ClassOf(err) != errdefs.Unavailable {
		t.Errorf("the replica does not answer: loaded %d documents, %v", len(docs), err)
	}
	replica.Resume()
	testkit.Eventually(t, "what was not confirmed shows", func() error {
		docs, err := s.Load(t.Context())
		if err == nil && len(docs) != 2 {
			err = fmt.Errorf("%d documents", len(docs))
		}
		return err
	})
	replica.Stop()
	testkit.Eventually(t, "the server has lost its replica", func() error {
		if d, err := s.Durability(t.Context()); err != nil || !strings.Contains(d.Explanation, "0 are connected") {
			return errors.Join(err, errors.New(d.Explanation))
		}
		return nil
	})
	if err := commit(t, s, doc("c", `1`)); errdefs.ClassOf(err) != errdefs.OutcomeUnknown {
		t.Errorf("no replica: %v", err)
	}
}
