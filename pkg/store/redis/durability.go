// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// settings are those of one server that decide how durable it is. An empty text means that the
// server did not tell.
type settings struct {
	addr, version, appendOnly, appendFsync, eviction string
	single                                           bool // not a cluster, so that WAITAOF can follow a commit
}

// Durability is that of store.Store. In a cluster the worst of the masters counts. Where the server
// syncs its log once a second only and is 7.2 or newer, commits from now on ask it to sync (WAITAOF)
// before they are answered, so that nothing acknowledged is lost.
func (s *Store) Durability(ctx context.Context) (store.Durability, error) {
	var all []settings
	err := s.do(ctx, "ask for durability", errdefs.Unavailable, func() error {
		cluster, ok := s.client.(*goredis.ClusterClient)
		if !ok {
			one, err := ask(ctx, s.client, s.where)
			one.single = true
			all = append(all, one)
			return err
		}
		var mu sync.Mutex
		return cluster.ForEachMaster(ctx, func(ctx context.Context, node *goredis.Client) error {
			one, err := ask(ctx, node, node.Options().Addr)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, one)
			return err
		})
	})
	if err != nil {
		return store.Durability{}, err
	}
	if len(all) == 0 {
		return store.Durability{}, errdefs.New(errdefs.Unavailable, "%s: the cluster has no master", s.where)
	}
	s.waitAOF.Store(len(all) == 1 && all[0].canWaitAOF())
	worst := all[0].judge()
	for _, one := range all[1:] {
		if d := one.judge(); rank(d.Level) > rank(worst.Level) {
			worst = d
		}
	}
	return worst, nil
}

// asker is what ask needs of a client.
type asker interface {
	Info(ctx context.Context, sections ...string) *goredis.StringCmd
	ConfigGet(ctx context.Context, parameter string) *goredis.MapStringStringCmd
}

// ask reads the settings of a server. A server that forbids a question leaves that setting empty.
func ask(ctx context.Context, c asker, addr string) (settings, error) {
	out := settings{addr: addr}
	info := make(map[string]string)
	for _, section := range []string{"server", "persistence"} {
		text, err := c.Info(ctx, section).Result()
		if err != nil && !forbidden(err) {
			return out, err
		}
		for line := range lines(text) {
			if key, value, ok := strings.Cut(line, ":"); ok {
				info[key] = value
			}
		}
	}
	out.version = info["redis_version"]
	out.appendOnly = map[string]string{"0": "no", "1": "yes"}[info["aof_enabled"]]
	for parameter, into := range map[string]*string{"appendfsync": &out.appendFsync, "maxmemory-policy": &out.eviction} {
		values, err := c.ConfigGet(ctx, parameter).Result()
		if err != nil && !forbidden(err) {
			return out, err
		}
		*into = values[parameter]
	}
	return out, nil
}

// forbidden reports whether the server does not let this user ask, or does not know the question.
func forbidden(err error) bool {
	return goredis.HasErrorPrefix(err, "NOPERM") || goredis.HasErrorPrefix(err, "unknown command")
}

func lines(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for scanner := bufio.NewScanner(strings.NewReader(text)); scanner.Scan(); {
			if !yield(scanner.Text()) {
				return
			}
		}
	}
}

// judge says what the settings mean.
func (s settings) judge() store.Durability {
	var level store.Level
	var why string
	switch {
	case s.appendOnly == "no":
		level, why = store.LevelNone, "appendonly is no, so a restart of the server loses what came after its last snapshot: set appendonly yes and appendfsync always"
	case s.appendOnly == "" || s.appendFsync == "":
		level, why = store.LevelUnknown, "the server does not let this user ask (INFO, CONFIG GET appendfsync): allow it, or see that appendonly is yes and appendfsync is always"
	case s.appendFsync == "always":
		level, why = store.LevelSynced, "appendonly is yes and appendfsync is always"
	case s.canWaitAOF():
		level, why = store.LevelSynced, "appendonly is yes, and each commit waits for the disk (WAITAOF)"
	default:
		level, why = store.LevelSeconds, fmt.Sprintf("appendfsync is %s, so a crash of the machine loses the last second or more: set appendfsync always", s.appendFsync)
	}
	if s.eviction != "" && s.eviction != "noeviction" && !strings.HasPrefix(s.eviction, "volatile-") {
		level, why = store.LevelNone, fmt.Sprintf("maxmemory-policy is %s, so the server may throw the store away when memory is short: set noeviction", s.eviction)
	}
	return store.Durability{OK: level == store.LevelSynced, Level: level, Explanation: fmt.Sprintf("%s (version %s): %s", s.addr, s.version, why)}
}

// rank orders levels from best to worst.
func rank(l store.Level) int {
	switch l {
	case store.LevelSynced:
		return 0
	case store.LevelSeconds:
		return 1
	case store.LevelUnknown:
		return 2
	case store.LevelNone:
	}
	return 3
}

// canWaitAOF reports whether commits need WAITAOF and the server has it (since 7.2).
func (s settings) canWaitAOF() bool {
	if !s.single || s.appendOnly != "yes" || s.appendFsync == "" || s.appendFsync == "always" {
		return false
	}
	parts := strings.Split(s.version, ".")
	if len(parts) < 2 {
		return false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (major > 7 || major == 7 && minor >= 2)
}

// waitAOFArgs is the command that waits until this server has synced, replicas aside.
func waitAOFArgs(limit time.Duration) []any {
	// Half the time, so that the server's own "no" comes before the connection is given up.
	return []any{"WAITAOF", 1, 0, max(limit/2, time.Millisecond).Milliseconds()}
}
