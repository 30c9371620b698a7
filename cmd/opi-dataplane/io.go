// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/ioload"
)

// ioSettings are the flags of the io commands.
type ioSettings struct {
	initiatorSettings

	nsid         uint32
	size         uint32
	depth        int
	offset       uint64
	length       uint64
	duration     time.Duration
	operations   uint64
	writePercent int
	sequential   bool
	seed         uint64
	progress     time.Duration
}

// ioMode is what an io command does with the load.
type ioMode struct {
	name, short string
	// timed modes run for a time or a number of operations; the others go over the range once.
	timed bool
	// mixed modes have a share of writes.
	mixed bool
	run   func(ctx context.Context, l *ioload.Load, report *ioReport) error
}

func ioModes() []ioMode {
	return []ioMode{
		{
			name: "write", short: "Write checksummed blocks over the range",
			run: func(ctx context.Context, l *ioload.Load, report *ioReport) error { return report.take(l.Fill(ctx)) },
		},
		{
			name: "read", short: "Read what write has written with the same seed, and check every block",
			run: func(ctx context.Context, l *ioload.Load, report *ioReport) error {
				l.Assume()
				return report.take(l.Check(ctx))
			},
		},
		{
			name: "verify", short: "Write the range, then read and write in it at random, and check every read",
			timed: true, mixed: true, run: verify,
		},
		{
			name: "bench", short: "Measure reads, or writes with --write-percent; what is written is not checked",
			timed: true, mixed: true,
			run: func(ctx context.Context, l *ioload.Load, report *ioReport) error {
				return report.take(ended(ctx)(l.Run(ctx)))
			},
		},
	}
}

func ioCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "io",
		Short: "Read and write a namespace of an NVMe/TCP target, and check what comes back",
		Long: `Read and write a namespace of an NVMe/TCP target, and check what comes back.

Each block carries its place, its age and a checksum, so that writes which were lost, torn, misplaced or
overtaken by older ones are found. When the target goes away, I/O waits until it is back (--reconnect-delay,
--loss-timeout). The exit status is 0 only if nothing failed and every block was right.
SIGINT and SIGTERM end verify and bench early, which is no failure.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("io has no command %q: write, read, verify or bench", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError{fmt.Errorf("%s needs one of its commands: write, read, verify or bench", cmd.Name())}
		},
	}
	for _, mode := range ioModes() {
		cmd.AddCommand(ioModeCommand(mode))
	}
	return cmd
}

func ioModeCommand(mode ioMode) *cobra.Command {
	var s ioSettings
	cmd := &cobra.Command{
		Use: mode.name, Short: mode.short,
		Args: func(_ *cobra.Command, args []string) error { return noArgs(args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runIO(cmd.Context(), cmd.OutOrStdout(), &mode, &s)
		},
	}
	s.register(cmd.Flags(), &mode)
	return cmd
}

func (s *ioSettings) register(flags *pflag.FlagSet, mode *ioMode) {
	s.initiatorSettings.register(flags)
	flags.Uint32Var(&s.nsid, "nsid", 1, "identifier of the namespace")
	flags.Uint32Var(&s.size, "size", 4096, "bytes of a request")
	flags.IntVar(&s.depth, "depth", 32, "requests in flight")
	flags.Uint64Var(&s.offset, "offset", 0, "first byte of the range")
	flags.Uint64Var(&s.length, "length", 0, "bytes of the range; 0 is up to the end of the namespace")
	flags.Uint64Var(&s.seed, "seed", 1, "makes what is written, and where, repeatable")
	flags.DurationVar(&s.progress, "progress", 0, "how often to print how far it is; 0 is never")
	if mode.timed {
		flags.DurationVar(&s.duration, "duration", 0, "how long to go on (5s if --operations is not given either)")
		flags.Uint64Var(&s.operations, "operations", 0, "number of requests after which to end")
		flags.BoolVar(&s.sequential, "sequential", false, "go through the range in order")
	}
	if mode.mixed {
		share := 0
		if mode.name == "verify" {
			share = 50
		}
		flags.IntVar(&s.writePercent, "write-percent", share, "how many requests of a hundred write")
	}
}

// defaultDuration is how long a load lasts when nobody says.
const defaultDuration = 5 * time.Second

// load makes the load on an open namespace.
func (s *ioSettings) load(device bdev.Device, mode *ioMode, progress func(uint64)) (*ioload.Load, error) {
	block := uint64(device.Geometry().BlockSizeBytes)
	if s.offset%block != 0 || s.length%block != 0 {
		return nil, usageError{fmt.Errorf("--offset %d and --length %d must be multiples of the block size, %d", s.offset, s.length, block)}
	}
	if s.duration == 0 && s.operations == 0 {
		s.duration = defaultDuration
	}
	l, err := ioload.New(ioload.Config{
		Device: device, IOSizeBytes: s.size, Depth: s.depth, FirstBlock: s.offset / block, Blocks: s.length / block,
		WritePercent: s.writePercent, Sequential: s.sequential, Verify: mode.name != "bench",
		Operations: s.operations, Duration: s.duration, Seed: s.seed, OnProgress: progress,
	})
	if err != nil {
		return nil, usageError{err}
	}
	return l, nil
}

// runIO connects, runs the load and prints what came of it.
func runIO(ctx context.Context, out io.Writer, mode *ioMode, s *ioSettings) (err error) {
	i, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.close(ctx)) }()
	ns, err := i.namespace(s.nsid)
	if err != nil {
		return err
	}
	desc, err := i.registry.Open(ns.Bdev, true, bdev.Events{})
	if err != nil {
		return fmt.Errorf("open namespace %d: %w", s.nsid, err)
	}
	defer func() { err = errors.Join(err, desc.Close()) }()
	report := &ioReport{Event: "result", Mode: mode.name, Namespace: newNamespaceReport(&ns), out: out, json: s.json}
	load, err := s.load(desc, mode, report.progress(s.progress))
	if err != nil {
		return err
	}
	if err := report.start(); err != nil {
		return err
	}
	failure := mode.run(ctx, load, report)
	if failure == nil {
		failure = flush(desc)
	}
	return errors.Join(report.print(failure), failure, report.verdict())
}

// verify fills the range, puts mixed load on it, and looks at all of it at the end. A signal ends the
// load and not the last look.
func verify(ctx context.Context, l *ioload.Load, report *ioReport) error {
	if err := report.take(l.Fill(ctx)); err != nil {
		return err
	}
	if err := report.take(ended(ctx)(l.Run(ctx))); err != nil {
		return err
	}
	return report.take(l.Check(context.WithoutCancel(ctx)))
}

// ended lets a load that ends because of a signal be a success.
func ended(ctx context.Context) func(*ioload.Result, error) (*ioload.Result, error) {
	return func(r *ioload.Result, err error) (*ioload.Result, error) {
		if err != nil && ctx.Err() != nil {
			err = nil
		}
		return r, err
	}
}

// flush makes what was written durable.
func flush(d bdev.Device) error {
	done := make(chan error, 1)
	d.Submit(&bdev.Request{Op: bdev.OpFlush, Done: func(_ *bdev.Request, err error) { done <- err }})
	if err := <-done; err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}
