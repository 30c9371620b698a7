// SPDX-License-Identifier: Apache-2.0

// Command bench measures the control plane against its floor, in one run: what the bridge takes for
// an operation, and what the same data plane takes for the same calls made raw. It starts the real
// programs, or uses a data plane that runs already (--spdk). It asserts nothing: figures go to
// standard output as a Markdown table, for docs/benchmarks.md.
//
//	go run ./tests/bench --disks 1000
//	go run ./tests/bench --disks 10000 --per-subsystem 10 --store redis
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// settings are the command's flags.
type settings struct {
	bin          string // directory of the programs
	spdk         string // address of a running data plane, "" to start opi-dataplane
	command      string // command that starts a data plane at that address, "" for none
	skip         string // names of measurements, comma-separated
	store        string // "bolt", "redis", or a store URL
	disks        int    // how many disks
	perSubsystem int    // namespaces of each subsystem
	inFlight     int    // concurrent calls where many are made
	samples      int    // calls timed one at a time
	idleSeconds  int    // how long idle CPU is watched
}

func main() {
	var s settings
	flag.StringVar(&s.bin, "bin", "bin", "directory with opi-bridge and opi-dataplane")
	flag.StringVar(&s.spdk, "spdk", "", "use the data plane at this address (unix:///PATH or tcp://HOST:PORT) instead of starting opi-dataplane; without --start, restarts are then left out")
	flag.StringVar(&s.command, "start", "", "start, and restart, the data plane at --spdk with this command of the shell: 'spdk_tgt -r /tmp/spdk.sock'")
	flag.StringVar(&s.skip, "skip", "", "measurements to leave out, comma-separated: "+strings.Join(measureNames(), ", "))
	flag.StringVar(&s.store, "store", "bolt", "bolt, redis (started here, appendfsync always), or the URL of a store")
	flag.IntVar(&s.disks, "disks", 1000, "number of disks")
	flag.IntVar(&s.perSubsystem, "per-subsystem", 1, "disks of each subsystem; SPDK has at most 1,024 subsystems")
	flag.IntVar(&s.inFlight, "in-flight", 256, "concurrent calls")
	flag.IntVar(&s.samples, "samples", 500, "calls timed one at a time")
	flag.IntVar(&s.idleSeconds, "idle", 10, "seconds over which idle CPU is measured")
	flag.Parse()

	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:forbidigo // this is main, after the flags
	}
}

func run(s settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "opi-bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r := &rig{settings: s, dir: dir}
	defer r.stop()
	if err := r.start(ctx); err != nil {
		return err
	}
	t := &table{}
	defer t.print(os.Stdout)
	for _, m := range measures() {
		if slices.Contains(strings.Split(s.skip, ","), m.name) {
			continue
		}
		if err := m.run(ctx, r, t); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if err := r.noteMemory(t, m.name); err != nil {
			return err
		}
	}
	return nil
}

// measure is one thing to measure.
type measure struct {
	name string
	run  func(context.Context, *rig, *table) error
}

// measures lists them in their order: what comes later finds what the earlier have made.
func measures() []measure {
	return []measure{
		{"one", oneAtATime},
		{"many", manyInFlight},
		{"floors", floors},
		{"io", dataPlaneIO},
		{"hostio", hostIO},
		{"build", buildDisks},
		{"reads", reads},
		{"idle", footprint},
		{"restart", dataPlaneRestart},
		{"bridge", bridgeRestart},
		{"delete", deleteDisks},
	}
}

func measureNames() (names []string) {
	for _, m := range measures() {
		names = append(names, m.name)
	}
	return names
}

// program returns the path of one of the programs.
func (s settings) program(name string) string { return filepath.Join(s.bin, name) }
