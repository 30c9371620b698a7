// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Policy says what a commit waits for before it is acknowledged. The zero Policy is "auto".
type Policy struct {
	// Nothing: the server's answer is enough, whatever it may lose.
	Nothing bool
	// Fsync: the write is on the server's disk. Where the server can promise that in no way, commits
	// are refused.
	Fsync bool
	// Replicas is how many replicas must have the write, or NoReplicas; 0 leaves it to what there is.
	Replicas int
}

// NoReplicas as Policy.Replicas waits for none even where there may be a failover.
const NoReplicas = -1

// maxReplicas bounds how many replicas may be asked for.
const maxReplicas = 16

// ParsePolicy reads a policy:
//
//	auto        wait for the disk where the server does not sync before it answers and knows WAITAOF
//	            (Redis 7.2), and where there may be a failover for every replica that is up: any of them
//	            may take the server's place
//	fsync       as auto, and refuse commits when the server does not promise its disk
//	replicas=N  as auto, but wait for N replicas, up or not
//	none        wait for nothing
//
// fsync and replicas=N go together, separated by a comma. Empty is auto.
func ParsePolicy(text string) (Policy, error) {
	var p Policy
	if text == "" || text == "auto" {
		return p, nil
	}
	if text == "none" {
		return Policy{Nothing: true}, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		number, replicas := strings.CutPrefix(part, "replicas=")
		n, err := strconv.Atoi(number)
		switch {
		case part == "fsync" && !p.Fsync:
			p.Fsync = true
		case replicas && p.Replicas == 0 && err == nil && n >= 0 && n <= maxReplicas:
			p.Replicas = n
			if n == 0 {
				p.Replicas = NoReplicas
			}
		default:
			return Policy{}, errdefs.New(errdefs.InvalidArgument,
				"durability %q: expected auto, none, fsync, replicas=N (0 to %d), or fsync,replicas=N", text, maxReplicas)
		}
	}
	return p, nil
}

// waits is what follows a write on its connection before it counts as done.
type waits struct {
	disk     bool // WAITAOF: the server itself has synced
	replicas int  // WAIT: so many replicas have it
	every    bool // ROLE: no more than these were connected at that moment
}

// of returns what a policy makes of the settings of a server.
func (p Policy) of(s settings) waits {
	if p.Nothing {
		return waits{}
	}
	// With appendfsync no the server never says that it has synced.
	w := waits{disk: s.appendOnly == "yes" && s.appendFsync == "everysec" && s.waitAOF, replicas: max(p.Replicas, 0)}
	if p.Replicas == 0 && s.failover {
		// Who watches the servers may not have noticed yet that one is back.
		w.replicas, w.every = max(s.expected, s.replicas), true
	}
	return w
}

// refusal says why no commit may be sent to such a server, nil if it may.
func (p Policy) refusal(s settings) error {
	if p.Fsync && s.appendFsync != "always" && !p.of(s).disk || p.Fsync && s.appendOnly != "yes" {
		return errdefs.New(errdefs.Unavailable, "%s: nothing was written, for the server does not promise its disk and the durability asked for is fsync: %s",
			s.addr, s.onDisk().Explanation)
	}
	return nil
}

// any says whether there is something to wait for.
func (w waits) any() bool { return w.disk || w.replicas > 0 || w.every }

// commands are those that wait, each for at most a third of the limit of the connection, so that the
// server's own "no" comes before the connection is given up.
func (w waits) commands(limit time.Duration) [][]any {
	ms := max(limit/3, time.Millisecond).Milliseconds()
	var all [][]any
	if w.disk {
		all = append(all, []any{"WAITAOF", 1, 0, ms})
	}
	if w.replicas > 0 {
		all = append(all, []any{"WAIT", w.replicas, ms})
	}
	if w.every {
		all = append(all, []any{"ROLE"})
	}
	return all
}

// errNotConfirmed says that a write was done, and may still be lost.
var errNotConfirmed = errors.New("written, but not confirmed in time")

// confirmed judges the answers to the commands of w, and says whether there are more replicas than are
// waited for. Errors of the commands are not wrapped: a refusal to wait must not look like one of the
// write.
func (w waits) confirmed(answers []*goredis.Cmd) (more bool, err error) {
	i := 0
	next := func() *goredis.Cmd { i++; return answers[i-1] }
	if w.disk {
		// How many have synced: the server itself, and replicas.
		counts, err := next().Int64Slice()
		if err != nil || len(counts) == 0 || counts[0] < 1 {
			return false, fmt.Errorf("%w: not known to be on the server's disk (%v)", errNotConfirmed, err) //nolint:errorlint // on purpose, see above
		}
	}
	var have int64
	if w.replicas > 0 {
		var err error
		if have, err = next().Int64(); err != nil || have < int64(w.replicas) {
			return false, fmt.Errorf("%w: %d of %d replicas have it (%v)", errNotConfirmed, have, w.replicas, err) //nolint:errorlint // on purpose, see above
		}
	}
	if w.every {
		// "master", its offset, and a list with each replica that is up to date.
		role, err := next().Slice()
		if err != nil || len(role) != 3 || role[0] != "master" {
			return false, fmt.Errorf("%w: the server is no master any more (%v)", errNotConfirmed, err) //nolint:errorlint // on purpose, see above
		}
		list, ok := role[2].([]any)
		if !ok || int64(len(list)) > have {
			return false, fmt.Errorf("%w: %d of %d replicas have it", errNotConfirmed, have, len(list))
		}
		more = len(list) > w.replicas
	}
	return more, nil
}
