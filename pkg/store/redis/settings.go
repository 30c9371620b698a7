// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// settings are those of one server that decide how durable it is. An empty text means that the
// server did not tell.
type settings struct {
	addr, version, appendOnly, appendFsync, eviction string
	// failover: another server may take this one's place by itself.
	failover bool
	// replicas counts those that are connected and up to date; expected those that may take this one's
	// place, by what the servers or sentinels know of each other.
	replicas, expected int
	// run is the server's run id, another one after each start; torn says why its log could not be made
	// whole since.
	run, torn string
	// waitAOF: the server knows WAITAOF.
	waitAOF bool
}

// ask reads the settings of a server in one round trip. A server that forbids a question leaves that
// setting empty.
func ask(ctx context.Context, c goredis.Cmdable, cluster bool) (settings, error) {
	var out settings
	var sections []*goredis.StringCmd
	config := map[string]*goredis.MapStringStringCmd{}
	var known *goredis.Cmd
	var nodes *goredis.StringCmd
	_, err := c.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, section := range []string{"server", "persistence", "replication"} {
			sections = append(sections, p.Info(ctx, section))
		}
		for _, parameter := range []string{"appendfsync", "maxmemory-policy"} {
			config[parameter] = p.ConfigGet(ctx, parameter)
		}
		known = p.Do(ctx, "COMMAND", "INFO", "WAITAOF")
		if cluster {
			nodes = p.ClusterNodes(ctx)
		}
		return nil
	})
	// The driver does not note on each command that there was no connection, for want of the right password, say.
	if err != nil && (!isAnswer(err) || known.Err() == nil && known.Val() == nil) {
		return out, err
	}
	info := make(map[string]string)
	for _, section := range sections {
		text, err := section.Result()
		if err != nil && !forbidden(err) {
			return out, err
		}
		for line := range lines(text) {
			key, value, _ := strings.Cut(line, ":")
			info[key] = value
			if strings.HasPrefix(key, "slave") && strings.Contains(value, "state=online") {
				out.replicas++
			}
		}
	}
	out.version, out.run = info["redis_version"], info["run_id"]
	out.appendOnly = map[string]string{"0": "no", "1": "yes"}[info["aof_enabled"]]
	for parameter, into := range map[string]*string{"appendfsync": &out.appendFsync, "maxmemory-policy": &out.eviction} {
		values, err := config[parameter].Result()
		if err != nil && !forbidden(err) {
			return out, err
		}
		*into = values[parameter]
	}
	// What is not known is a list with nothing in it.
	entries, err := known.Slice()
	if err != nil && !forbidden(err) {
		return out, err
	}
	if nodes != nil {
		text, err := nodes.Result()
		if err != nil {
			return out, err
		}
		out.expected = followers(text)
	}
	out.waitAOF = len(entries) == 1 && entries[0] != nil
	return out, nil
}

// followers counts the replicas of the server that was asked for the nodes of its cluster, without those
// that the cluster has given up. A line is "<id> <address> <flags> <id of its master> …".
func followers(nodes string) (n int) {
	var self string
	for _, count := range []bool{false, true} {
		for line := range lines(nodes) {
			fields := strings.Fields(line)
			if len(fields) < 4 {
				continue
			}
			flags := strings.Split(fields[2], ",")
			switch {
			case !count && slices.Contains(flags, "myself"):
				self = fields[0]
			case count && fields[3] == self && !slices.Contains(flags, "fail"):
				n++
			}
		}
	}
	return n
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

// onDisk says what a crash of the server and its machine may take, if commits wait for nothing.
func (s settings) onDisk() store.Durability {
	switch {
	case s.appendOnly == "no":
		return explained(store.LevelNone, "appendonly is no, so a restart of the server loses what came after its last snapshot: set appendonly yes and appendfsync always")
	case s.appendOnly == "" || s.appendFsync == "":
		return explained(store.LevelUnknown, "the server does not let this user ask (INFO, CONFIG GET appendfsync): allow it, or see that appendonly is yes and appendfsync is always")
	case s.appendFsync == "always":
		return explained(store.LevelSynced, "appendonly is yes and appendfsync is always")
	}
	return explained(store.LevelSeconds, fmt.Sprintf("appendfsync is %s, so a crash of the machine loses the last second or more: set appendfsync always", s.appendFsync))
}

// evicts says whether the server may throw keys without an expiry away.
func (s settings) evicts() bool { return strings.HasPrefix(s.eviction, "allkeys-") }

// judge says how durable commits are that wait as w says.
func (s settings) judge(w waits) store.Durability {
	d := s.onDisk()
	if w.disk {
		d = explained(store.LevelSynced, "appendonly is yes, and each commit waits for the disk (WAITAOF)")
	}
	switch {
	case w.every && s.expected > 0:
		d.Explanation += fmt.Sprintf("; each commit waits for all replicas that are up (WAIT), %d now", s.expected)
	case w.replicas > s.replicas:
		d.Explanation += fmt.Sprintf("; each commit waits for %d replicas (WAIT) and %d are connected, so none is confirmed until there are more", w.replicas, s.replicas)
	case w.replicas > 0:
		d.Explanation += fmt.Sprintf("; each commit waits for %d of %d replicas (WAIT)", w.replicas, s.replicas)
	case s.failover && s.expected == 0:
		d = worse(d, explained(store.LevelSeconds, "no replica is up, so a failover to one that is away loses what that has not seen: bring one up"))
	case s.failover:
		d = worse(d, explained(store.LevelSeconds, "commits do not wait for a replica, so a failover loses the last ones: use --store-durability auto"))
	}
	if s.torn != "" {
		d.Explanation += "; the log was not made whole after the server's start, so commits that were cut off by a crash may come back at its next one: allow DUMP and RESTORE (" + s.torn + ")"
	}
	if s.evicts() {
		d = explained(store.LevelNone, fmt.Sprintf("maxmemory-policy is %s, so the server may throw the store away when memory is short: set noeviction", s.eviction))
	}
	d.Explanation = fmt.Sprintf("%s (version %s): %s", s.addr, s.version, d.Explanation)
	return d
}

func explained(level store.Level, why string) store.Durability {
	return store.Durability{OK: level == store.LevelSynced, Level: level, Explanation: why}
}

// worse puts two judgements together: the level is that of the worse.
func worse(a, b store.Durability) store.Durability {
	switch {
	case a.OK:
		return b
	case rank(b.Level) > rank(a.Level):
		a.Level = b.Level
	}
	a.Explanation += "; " + b.Explanation
	return a
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
