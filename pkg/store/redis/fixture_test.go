// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

// TestFixture opens what format 1 wrote, kept as the commands that bring it back.
func TestFixture(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("testdata", "format1.redis"))
	if err != nil {
		t.Fatal(err)
	}
	server := testkit.Redis(t)
	for line := range strings.Lines(string(content)) {
		var args []string
		for i, part := range strings.Split(strings.TrimSpace(line), "'") {
			if i%2 == 1 {
				args = append(args, part)
			} else {
				args = append(args, strings.Fields(part)...)
			}
		}
		server.CLI(args...)
	}
	s := use(t, redis.Config{URL: "redis://" + server.Addr(), Schema: store.Schema{WrittenBy: "later"}})
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
	if lease, err := s.Acquire(t.Context(), "then", time.Hour); err != nil || lease.Token <= 1795164636000 {
		t.Errorf("lease %+v, %v", lease, err)
	}
	if got, err := s.Commit(t.Context(), []store.Write{doc("new", `1`)}); err != nil || got[0] != 4 {
		t.Errorf("next revision %v, %v", got, err)
	}
}
