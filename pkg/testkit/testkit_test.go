// SPDX-License-Identifier: Apache-2.0

package testkit_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEventually(t *testing.T) {
	calls := 0
	testkit.Eventually(t, "three calls", func() error {
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if calls != 3 {
		t.Errorf("%d calls, want 3", calls)
	}
}

func TestRedis(t *testing.T) {
	r := testkit.Redis(t)
	r.CLI("SET", "key", "value")
	check := func(step string) {
		t.Helper()
		if got := r.CLI("GET", "key"); got != "value" {
			t.Errorf("%s: %q", step, got)
		}
	}
	r.Kill()
	r.Start()
	check("after a crash")
	r.Stop()
	r.Start()
	check("after a stop")
	r.Pause()
	r.Resume()
	check("after a pause")
	if got := r.CLI("CONFIG", "GET", "appendfsync"); got != "appendfsync\nalways" {
		t.Errorf("durability: %q", got)
	}
}
