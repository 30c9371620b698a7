// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/testkit"
)

const mib = 1 << 20

// usage is what a process holds when nothing is asked of it. Heap and goroutines are told by the bridge
// only.
type usage struct {
	heap, rss           float64 // bytes
	goroutines, threads float64
	descriptors         float64
}

func (u usage) String() string {
	text := fmt.Sprintf("RSS %.0f MiB, %.0f threads, %.0f descriptors", u.rss/mib, u.threads, u.descriptors)
	if u.goroutines > 0 {
		text += fmt.Sprintf(", live heap %.1f MiB, %.0f goroutines", u.heap/mib, u.goroutines)
	}
	return text
}

// reading is the two programs between two rounds.
type reading struct{ bridge, dataPlane usage }

// reading reads what both hold. All that the load made is gone, so only what has leaked differs.
func (s *site) reading() (r reading) {
	s.t.Helper()
	r.bridge, r.dataPlane = s.process(s.bridge.PID()), s.process(s.dataPlane.PID())
	// After each collection the next one is set for when the heap has doubled: so half of that is what was
	// found alive. The least over some collections counts, which reading lists brings about.
	begun := -1.0
	testkit.Eventually(s.t, "some garbage collections of the bridge", func() error {
		for range 10 {
			if _, err := s.volumes().ListNullVolumes(s.t.Context(), &pb.ListNullVolumesRequest{PageSize: 250}); err != nil {
				return err
			}
		}
		m, err := s.metrics()
		if err != nil {
			return err
		}
		if heap := m["go_memstats_next_gc_bytes"] / 2; r.bridge.heap == 0 || heap < r.bridge.heap {
			r.bridge.heap = heap
		}
		if goroutines := m["go_goroutines"]; r.bridge.goroutines == 0 || goroutines < r.bridge.goroutines {
			r.bridge.goroutines = goroutines
		}
		collections := m["go_gc_duration_seconds_count"]
		if begun < 0 {
			begun = collections
		}
		if collections < begun+4 {
			return fmt.Errorf("%v collections so far", collections-begun)
		}
		return nil
	})
	return r
}

// process reads what the kernel knows of a process (proc(5)).
func (s *site) process(pid int) (u usage) {
	s.t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		s.t.Fatal(err)
	}
	u.descriptors = float64(len(fds))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		value, _ := strconv.ParseFloat(fields[1], 64) // other lines are not numbers
		switch fields[0] {
		case "VmRSS:":
			u.rss = value * 1024
		case "Threads:":
			u.threads = value
		}
	}
	return u
}

// metrics reads the bridge's metrics that have no labels.
func (s *site) metrics() (map[string]float64, error) {
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.bridge.HTTPAddr()+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	all := map[string]float64{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if name, text, ok := strings.Cut(lines.Text(), " "); ok {
			if value, err := strconv.ParseFloat(text, 64); err == nil {
				all[name] = value
			}
		}
	}
	return all, nil
}

// lives are the readings of each process from its start to its end.
type lives struct{ bridges, dataPlanes [][]usage }

// add notes the reading after a round in which something may have been started anew.
func (l *lives) add(what fault, r reading) {
	live := func(all [][]usage, anew bool, u usage) [][]usage {
		if anew || len(all) == 0 {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], u)
		return all
	}
	l.bridges = live(l.bridges, what == killed, r.bridge)
	l.dataPlanes = live(l.dataPlanes, what == dataPlane, r.dataPlane)
}

// growth compares, in each life, the second reading with the last two: in the first round buffers and
// pools come to their size. What a round leaks, the rounds after it leak again; so a bound that one
// round's noise stays within is passed by the rounds together.
func (l *lives) growth() (found []string) {
	for name, all := range map[string][][]usage{"bridge": l.bridges, "data plane": l.dataPlanes} {
		for _, life := range all {
			if len(life) < 3 {
				continue
			}
			base, last, before := life[1], life[len(life)-1], life[max(1, len(life)-2)]
			grown := func(what string, value func(usage) float64, factor, slack float64) {
				if is, was := min(value(last), value(before)), value(base); is > was*factor+slack {
					found = append(found, fmt.Sprintf("the %s's %s grew from %.0f to %.0f in %d rounds", name, what, was, is, len(life)-2))
				}
			}
			grown("live heap (bytes)", func(u usage) float64 { return u.heap }, 1.2, 3*mib)
			grown("resident memory (bytes)", func(u usage) float64 { return u.rss }, 1.3, 32*mib)
			grown("goroutines", func(u usage) float64 { return u.goroutines }, 1, 8)
			grown("threads", func(u usage) float64 { return u.threads }, 1, 16)
			grown("file descriptors", func(u usage) float64 { return u.descriptors }, 1, 4)
		}
	}
	return found
}

// TestGrowthIsSeen feeds the judgement lives in which something grows, one after the other.
func TestGrowthIsSeen(t *testing.T) {
	steady := usage{heap: 20 * mib, rss: 60 * mib, goroutines: 30, threads: 9, descriptors: 18}
	for what, leak := range map[string]usage{
		"":            {},
		"heap":        {heap: 2 * mib},
		"resident":    {rss: 12 * mib},
		"goroutines":  {goroutines: 2},
		"threads":     {threads: 3},
		"descriptors": {descriptors: 1},
	} {
		var l lives
		now := steady
		for i, f := range rounds() {
			noise := usage{heap: float64(i%3) * mib / 2, rss: float64(i%2) * 4 * mib, goroutines: float64(i % 2)}
			l.add(f, reading{bridge: usage{
				heap: now.heap + noise.heap, rss: now.rss + noise.rss, goroutines: now.goroutines + noise.goroutines,
				threads: now.threads, descriptors: now.descriptors,
			}, dataPlane: steady})
			now.heap, now.rss, now.goroutines = now.heap+leak.heap, now.rss+leak.rss, now.goroutines+leak.goroutines
			now.threads, now.descriptors = now.threads+leak.threads, now.descriptors+leak.descriptors
		}
		found := l.growth()
		if (what == "") != (len(found) == 0) || len(found) == 1 && !strings.Contains(found[0], what) || len(found) > 1 {
			t.Errorf("a leak of %q gave %q", what, found)
		}
	}
}
