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
	"syscall"
)

// settings are the command's flags.
type settings struct {
	bin          string // directory of the programs
	spdk         string // address of a running data plane, "" to start opi-dataplane
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
	flag.StringVar(&s.spdk, "spdk", "", "use the data plane at this address (unix:///PATH or tcp://HOST:PORT) instead of starting opi-dataplane; restarts are then left out")
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
	for _, measure := range []func(context.Context, *rig, *table) error{
		oneAtATime, manyInFlight, hostIO, buildDisks, reads, footprint, dataPlaneRestart, bridgeRestart, deleteDisks,
	} {
		if err := measure(ctx, r, t); err != nil {
			return err
		}
	}
	return nil
}

// program returns the path of one of the programs.
func (s settings) program(name string) string { return filepath.Join(s.bin, name) }
