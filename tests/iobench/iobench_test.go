// SPDX-License-Identifier: Apache-2.0

package iobench_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"
)

const (
	// diskBytes is the size of every disk.
	diskBytes = 64 << 20
	// mib is a MiB in bytes.
	mib = 1 << 20
	// rounds is how often each figure is taken, one target after the other; the median counts.
	rounds = 3
	// burst is how long a figure is taken.
	burst = 500 * time.Millisecond
)

// load is one row of a table.
type load struct {
	ioBytes, depth, queues int
	write                  bool
}

// loads are all rows. Those that write large pieces come first, so that all blocks are there.
func loads() []load {
	all := []load{
		{ioBytes: 128 << 10, depth: 32, queues: 1, write: true},
		{ioBytes: 128 << 10, depth: 32, queues: 1},
		{ioBytes: 128 << 10, depth: 1, queues: 1},
	}
	for _, write := range []bool{false, true} {
		for _, queues := range []int{1, 4} {
			for _, depth := range []int{1, 32, 128} {
				if depth >= queues {
					all = append(all, load{ioBytes: 4096, depth: depth, queues: queues, write: write})
				}
			}
		}
	}
	return all
}

func (l load) String() string {
	what, manner := "reads", "random"
	if l.write {
		what = "writes"
	}
	if l.sequential() {
		manner = "sequential"
	}
	queues := "1 queue"
	if l.queues > 1 {
		queues = fmt.Sprintf("%d queues", l.queues)
	}
	return fmt.Sprintf("%d KiB %s %s, depth %d, %s", l.ioBytes>>10, manner, what, l.depth, queues)
}

// sequential says that what is counted is bytes, not requests.
func (l load) sequential() bool { return l.ioBytes > 4096 }

// target is one column: a disk and how to load it.
type target struct {
	name string
	// measure returns requests per second.
	measure func(tb testing.TB, l load) float64
	// alone, if set, is called before the target is measured and returns what is to be called after.
	alone func() (done func())
	// pid, if set, is the process whose processor time is told too.
	pid int
}

// ratio is a column that compares two targets by their place.
type ratio struct{ of, to int }

// group is one table: targets that are measured in turn.
type group struct {
	title   string
	targets []target
	ratios  []ratio
}

// run measures the group and prints it.
func (g *group) run(tb testing.TB, w io.Writer) {
	tb.Helper()
	var out bytes.Buffer
	fmt.Fprintf(&out, "\n%s\n\n| |", g.title)
	for _, t := range g.targets {
		fmt.Fprintf(&out, " %s |", t.name)
	}
	for _, r := range g.ratios {
		fmt.Fprintf(&out, " %s : %s |", g.targets[r.of].name, g.targets[r.to].name)
	}
	fmt.Fprintf(&out, "\n|---|")
	for range len(g.targets) + len(g.ratios) {
		fmt.Fprint(&out, "---|")
	}
	shares := g.sharesHead()
	for _, l := range loads() {
		figures, spent := make([][]float64, len(g.targets)), make([]cpu, len(g.targets))
		for range rounds {
			for i, t := range g.targets {
				before := cpuOf(tb, t.pid)
				figures[i] = append(figures[i], t.figure(tb, l))
				spent[i] = spent[i].plus(cpuOf(tb, t.pid).since(before))
			}
		}
		shares += g.sharesRow(l, spent)
		fmt.Fprintf(&out, "\n| %s |", l)
		medians := make([]float64, len(figures))
		for i, f := range figures {
			slices.Sort(f)
			medians[i] = f[len(f)/2]
			fmt.Fprintf(&out, " %s |", l.figure(medians[i]))
		}
		for _, r := range g.ratios {
			fmt.Fprintf(&out, " %.2f |", medians[r.of]/medians[r.to])
		}
	}
	fmt.Fprintf(&out, "\n%s", shares)
	if _, err := w.Write(out.Bytes()); err != nil {
		tb.Fatal(err)
	}
}

func (t *target) figure(tb testing.TB, l load) float64 {
	tb.Helper()
	if t.alone != nil {
		done := t.alone()
		defer done()
	}
	return t.measure(tb, l)
}

// figure spells requests per second for people.
func (l load) figure(perSecond float64) string {
	if l.sequential() {
		return fmt.Sprintf("%.0f MiB/s", perSecond*float64(l.ioBytes)/mib)
	}
	return fmt.Sprintf("%.0f", perSecond)
}

// BenchmarkIO takes all figures once.
func BenchmarkIO(b *testing.B) {
	fmt.Fprintf(os.Stdout, "Requests per second, or MiB/s; median of %d bursts of %v, the targets of a table in turn.\n", rounds, burst)
	for _, part := range []struct {
		name string
		make func(testing.TB) *group
	}{
		{"vhost", vhostGroup},
		{"local", localGroup},
		{"guest", guestGroup},
		{"fio-vhost", fioVhostGroup},
		{"fio-nvme", fioNvmeGroup},
	} {
		b.Run(part.name, func(b *testing.B) {
			if b.N == 1 {
				part.make(b).run(b, os.Stdout)
			}
		})
	}
}
