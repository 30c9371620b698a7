// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// table collects the figures of a run.
type table struct {
	rows   [][4]string
	memory [][2]string // what was measured last, and what the bridge held after it
}

// add notes a figure, the floor it is compared with, and the comparison.
func (t *table) add(what, figure, floor, ratio string) {
	t.rows = append(t.rows, [4]string{what, figure, floor, ratio})
}

func (t *table) print(w io.Writer) {
	fmt.Fprintln(w, "| what | measured | floor in the same run | ratio |")
	fmt.Fprintln(w, "|---|---|---|---|")
	for _, r := range t.rows {
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", r[0], r[1], r[2], r[3])
	}
	fmt.Fprintln(w, "\n| after | bridge, RSS and CPU so far |")
	fmt.Fprintln(w, "|---|---|")
	for _, m := range t.memory {
		fmt.Fprintf(w, "| %s | %s |\n", m[0], m[1])
	}
	fmt.Fprintln(w)
}

// sample is a set of durations.
type sample []time.Duration

// at returns the given quantile, 0.5 for the median.
func (s sample) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(q*float64(len(sorted)-1))]
}

func (s sample) String() string {
	return fmt.Sprintf("p50 %s, p99 %s", round(s.at(0.5)), round(s.at(0.99)))
}

// round cuts a duration to three figures or so.
func round(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d > 100*time.Millisecond:
		return d.Round(time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}

// perDisk says what one of n took.
func perDisk(n int, d time.Duration) string { return fmt.Sprintf("%s each", round(d/time.Duration(n))) }

func perSecond(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
