// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"fmt"
	"time"
)

// readTSC returns the processor's time stamp counter.
func readTSC() uint64

// clockArgs tells the guest's kernel how fast its time stamp counter runs: without KVM that is this
// machine's own. Left to find out by itself on a busy machine it may be wrong by a factor of four, and
// with it all of its timeouts.
func clockArgs(ctx context.Context) (string, error) {
	beginTSC, begin := readTSC(), time.Now()
	// Long against the time between the two readings.
	const while = 100 * time.Millisecond
	select {
	case <-time.After(while):
	case <-ctx.Done():
		return "", fmt.Errorf("measure the time stamp counter: %w", context.Cause(ctx))
	}
	endTSC, elapsed := readTSC(), time.Since(begin)
	return fmt.Sprintf("tsc_early_khz=%d", uint64(float64(endTSC-beginTSC)/elapsed.Seconds()/1000)), nil
}
