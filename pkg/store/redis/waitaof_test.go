// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestWaitAOF: the servers that are at hand for tests are older than WAITAOF, so what can be checked
// is when it is used, what is sent, and how the answer is judged.
func TestWaitAOF(t *testing.T) {
	everysec := settings{appendOnly: "yes", appendFsync: "everysec", single: true}
	for version, want := range map[string]bool{
		"7.0.15": false, "7.1.9": false, "7.2.0": true, "7.10.1": true, "8.0": true, "10.0.0": true, "6.9.9": false, "": false, "x.y": false, "7": false,
	} {
		s := everysec
		s.version = version
		if got := s.canWaitAOF(); got != want || s.judge().OK != want {
			t.Errorf("version %q: used %t, durable %t; want %t", version, got, s.judge().OK, want)
		}
	}
	for name, s := range map[string]settings{
		"needless":      {appendOnly: "yes", appendFsync: "always", single: true, version: "7.4.0"},
		"no log":        {appendOnly: "no", appendFsync: "everysec", single: true, version: "7.4.0"},
		"cluster":       {appendOnly: "yes", appendFsync: "everysec", version: "7.4.0"},
		"not permitted": {appendOnly: "yes", single: true, version: "7.4.0"},
	} {
		if s.canWaitAOF() {
			t.Errorf("%s: used", name)
		}
	}
	if got := fmt.Sprint(waitAOFArgs(5 * time.Second)...); got != "WAITAOF1 0 2500" {
		t.Errorf("sent: %s", got)
	}
	for _, row := range []struct {
		counts []int64
		err    error
		ok     bool
	}{{[]int64{1, 0}, nil, true}, {[]int64{1, 2}, nil, true}, {[]int64{0, 0}, nil, false}, {nil, nil, false}, {nil, errAnswer, false}} {
		if err := notSynced(row.counts, row.err); (err == nil) != row.ok || err != nil && !errors.Is(err, errNotSynced) || errors.Is(err, errAnswer) {
			t.Errorf("answer %v, %v: %v", row.counts, row.err, err)
		}
	}
}

var errAnswer = errors.New("refused")
