// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// TestReminderIsNeverLost lets somebody try for a name at the moment at which it is unlocked: whoever
// does not get it is told when it is free.
func TestReminderIsNeverLost(t *testing.T) {
	t.Parallel()
	const name = resource.Name("nullVolumes/vol-1")
	told := make(chan struct{}, 1)
	locks := newKeyLock(func() { signal(told) })
	for range 20_000 {
		unlock, err := locks.Lock(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		tried := make(chan bool)
		go func() {
			got := locks.TryLock(name, true)
			if got != nil {
				got()
			}
			tried <- got != nil
		}()
		unlock()
		if <-tried {
			continue
		}
		select {
		case <-told:
		default:
			t.Fatal("the name is free, and nobody was told")
		}
	}
}
