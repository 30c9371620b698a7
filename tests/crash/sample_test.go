// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"hash/fnv"
	"math/rand/v2"
)

// point is a moment: before or after the at-th message is forwarded, counted from 1.
type point struct {
	at    int
	after bool
}

// around says where the point lies, when that message was there.
func (p point) around(message string) string {
	if p.after {
		return "after " + message
	}
	return "before " + message
}

// every asks for all points, full run or not.
const every = 0

// points returns those at which a fault happens to something of so many messages, in order: all of
// them, or few, spread over all and each chosen by the seed and by what it is about.
func points(messages, few int, about string) []point {
	all := 2 * messages
	if *full || few == every || few > all {
		few = all
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(about)) // cannot fail
	draw := rand.New(rand.NewPCG(*seed, hash.Sum64()))
	chosen := make([]point, 0, few)
	for i := range few {
		from, to := i*all/few, (i+1)*all/few
		n := from + draw.IntN(to-from)
		chosen = append(chosen, point{at: n/2 + 1, after: n%2 == 1})
	}
	return chosen
}
