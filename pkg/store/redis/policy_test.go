// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

func TestParsePolicy(t *testing.T) {
	for text, want := range map[string]Policy{
		"": {}, "auto": {}, "none": {Nothing: true}, "fsync": {Fsync: true}, "replicas=2": {Replicas: 2},
		"fsync,replicas=1": {Fsync: true, Replicas: 1}, "replicas=0": {Replicas: NoReplicas}, "replicas=16,fsync": {Fsync: true, Replicas: 16},
	} {
		if got, err := ParsePolicy(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"always", "replicas", "replicas=", "replicas=-1", "replicas=17", "replicas=x", "fsync,fsync", "none,fsync", "auto,fsync", "fsync,", ",", "replicas=1,replicas=2"} {
		if got, err := ParsePolicy(text); errdefs.ClassOf(err) != errdefs.InvalidArgument {
			t.Errorf("%q: %+v, %v; want it refused", text, got, err)
		}
	}
}

// TestWaits: what commits wait for, and what is said of it, by settings of the server and policy. The
// server at hand for tests may be older than WAITAOF, so its part is a setting here.
func TestWaits(t *testing.T) {
	always := settings{appendOnly: "yes", appendFsync: "always"}
	everysec := settings{appendOnly: "yes", appendFsync: "everysec"}
	with := func(s settings, change func(*settings)) settings { change(&s); return s }
	newer := with(everysec, func(s *settings) { s.waitAOF = true })
	pair := with(always, func(s *settings) { s.failover, s.replicas, s.expected = true, 1, 1 })
	alone := with(always, func(s *settings) { s.failover = true })
	for _, row := range []struct {
		policy  string
		s       settings
		sent    string
		level   store.Level
		refused bool
	}{
		{"auto", always, "[]", store.LevelSynced, false},
		{"auto", everysec, "[]", store.LevelSeconds, false},
		{"auto", newer, "[[WAITAOF 1 0 1000]]", store.LevelSynced, false},
		{"auto", with(newer, func(s *settings) { s.appendOnly = "no" }), "[]", store.LevelNone, false},
		{"auto", with(newer, func(s *settings) { s.appendFsync = "no" }), "[]", store.LevelSeconds, false},
		{"fsync", with(newer, func(s *settings) { s.appendFsync = "no" }), "[]", store.LevelSeconds, true},
		{"auto", with(always, func(s *settings) { s.waitAOF = true }), "[]", store.LevelSynced, false},
		{"auto", with(always, func(s *settings) { s.replicas = 3 }), "[]", store.LevelSynced, false},
		{"auto", pair, "[[WAIT 1 1000] [ROLE]]", store.LevelSynced, false},
		{"auto", alone, "[[ROLE]]", store.LevelSeconds, false},
		{"auto", with(newer, func(s *settings) { s.failover, s.replicas, s.expected = true, 2, 2 }), "[[WAITAOF 1 0 1000] [WAIT 2 1000] [ROLE]]", store.LevelSynced, false},
		{"replicas=0", pair, "[]", store.LevelSeconds, false},
		{"none", pair, "[]", store.LevelSeconds, false},
		{"none", newer, "[]", store.LevelSeconds, false},
		{"fsync", always, "[]", store.LevelSynced, false},
		{"fsync", newer, "[[WAITAOF 1 0 1000]]", store.LevelSynced, false},
		{"fsync", everysec, "[]", store.LevelSeconds, true},
		{"fsync", settings{appendOnly: "no", appendFsync: "always"}, "[]", store.LevelNone, true},
		{"fsync", settings{}, "[]", store.LevelUnknown, true},
		{"fsync", settings{appendFsync: "always"}, "[]", store.LevelUnknown, true},
		{"replicas=2", pair, "[[WAIT 2 1000]]", store.LevelSynced, false},
		{"replicas=2", always, "[[WAIT 2 1000]]", store.LevelSynced, false},
	} {
		policy, err := ParsePolicy(row.policy)
		if err != nil {
			t.Fatal(err)
		}
		w := policy.of(row.s)
		sent := fmt.Sprint(w.commands(3 * time.Second))
		d := row.s.judge(w)
		if sent != row.sent || d.Level != row.level || d.OK != (d.Level == store.LevelSynced) || (policy.refusal(row.s) != nil) != row.refused {
			t.Errorf("%s on %+v: sent %s, %+v, refused: %v; want %s, %s, %t", row.policy, row.s, sent, d, policy.refusal(row.s), row.sent, row.level, row.refused)
		}
	}
}

// TestConfirmed: only an answer that says enough is one.
func TestConfirmed(t *testing.T) {
	refused := goredis.NewCmd(t.Context())
	refused.SetErr(errAnswer)
	answer := func(v any) *goredis.Cmd { return goredis.NewCmdResult(v, nil) }
	list := func(n ...int64) *goredis.Cmd {
		var all []any
		for _, i := range n {
			all = append(all, i)
		}
		return answer(all)
	}
	role := func(role string, replicas int) *goredis.Cmd {
		return answer([]any{role, int64(1234), make([]any, replicas)})
	}
	both, every := waits{disk: true, replicas: 2}, waits{replicas: 1, every: true}
	for _, row := range []struct {
		w       waits
		answers []*goredis.Cmd
		ok      bool
	}{
		{waits{}, nil, true},
		{waits{disk: true}, []*goredis.Cmd{list(1, 0)}, true},
		{waits{disk: true}, []*goredis.Cmd{list(0, 3)}, false},
		{waits{disk: true}, []*goredis.Cmd{list()}, false},
		{waits{disk: true}, []*goredis.Cmd{refused}, false},
		{waits{replicas: 2}, []*goredis.Cmd{answer(int64(2))}, true},
		{waits{replicas: 2}, []*goredis.Cmd{answer(int64(1))}, false},
		{waits{replicas: 2}, []*goredis.Cmd{refused}, false},
		{waits{replicas: 2}, []*goredis.Cmd{answer("OK")}, false},
		{every, []*goredis.Cmd{answer(int64(1)), role("master", 1)}, true},
		{every, []*goredis.Cmd{answer(int64(1)), role("master", 0)}, true},
		{every, []*goredis.Cmd{answer(int64(1)), role("master", 2)}, false},
		{every, []*goredis.Cmd{answer(int64(2)), role("master", 2)}, true},
		{every, []*goredis.Cmd{answer(int64(1)), role("slave", 1)}, false},
		{every, []*goredis.Cmd{answer(int64(1)), answer("no list")}, false},
		{every, []*goredis.Cmd{answer(int64(1)), refused}, false},
		{waits{every: true}, []*goredis.Cmd{role("master", 0)}, true},
		{waits{every: true}, []*goredis.Cmd{role("master", 1)}, false},
		{both, []*goredis.Cmd{list(1, 0), answer(int64(3))}, true},
		{both, []*goredis.Cmd{list(0, 0), answer(int64(3))}, false},
		{both, []*goredis.Cmd{list(1, 0), answer(int64(0))}, false},
	} {
		_, err := row.w.confirmed(row.answers)
		if (err == nil) != row.ok || err != nil && (!errors.Is(err, errNotConfirmed) || errors.Is(err, errAnswer)) {
			t.Errorf("%+v, answers %v: %v", row.w, row.answers, err)
		}
	}
}

// TestMoreReplicas: one that has come since is noticed, though both have the write.
func TestMoreReplicas(t *testing.T) {
	t.Parallel()
	w := waits{replicas: 1, every: true}
	for connected, want := range []bool{false, false, true} {
		have := goredis.NewCmdResult(int64(connected), nil)
		if connected == 0 {
			have = goredis.NewCmdResult(int64(1), nil)
		}
		role := goredis.NewCmdResult([]any{"master", int64(1234), make([]any, connected)}, nil)
		if more, err := w.confirmed([]*goredis.Cmd{have, role}); more != want || err != nil {
			t.Errorf("%d are connected: %v, %v", connected, more, err)
		}
	}
}

var errAnswer = errors.New("refused")

// TestFollowers: who may take a server's place in a cluster.
func TestFollowers(t *testing.T) {
	const nodes = `aa 127.0.0.1:1@11 myself,master - 0 1 1 connected 0-100
bb 127.0.0.1:2@12 slave aa 0 1 1 connected
cc 127.0.0.1:3@13 slave,fail aa 0 1 1 disconnected
dd 127.0.0.1:4@14 slave,fail? aa 0 1 1 connected
ee 127.0.0.1:5@15 master - 0 1 2 connected 101-200
ff 127.0.0.1:6@16 slave ee 0 1 2 connected
`
	if n := followers(nodes); n != 2 {
		t.Errorf("counted %d, want bb and dd", n)
	}
	if n := followers(""); n != 0 {
		t.Errorf("counted %d of nothing", n)
	}
}
