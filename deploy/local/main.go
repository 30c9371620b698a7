// SPDX-License-Identifier: Apache-2.0

// Command local plays a storage node and a DPU on one machine, on loopback, with the embedded data
// plane and stores in files. It stands behind `make run` (stays in the foreground until Ctrl-C) and
// `make demo` (breaks things by itself and checks that the disk survives). It knows the programs
// only as a user does: by their flags, their API and what they serve.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

const usage = `usage: local run  [--bin DIR] [--dir DIR]   two nodes until Ctrl-C, state kept in --dir
       local demo [--bin DIR]              two nodes in a fresh directory, broken and checked
`

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	cancel()
	if err != nil {
		fmt.Fprintf(os.Stderr, "local: %v\n", err)
		os.Exit(1)
	}
}

// run carries out one command line, until it is done or ctx ends.
func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("which command?\n%s", usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	bin := flags.String("bin", "bin", "where opi-bridge and opi-dataplane are")
	dir := flags.String("dir", ".run", "where the nodes keep their state")
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() > 0 {
		return fmt.Errorf("%q is not understood\n%s", args, usage)
	}
	programs, err := filepath.Abs(*bin)
	if err != nil {
		return fmt.Errorf("finding the programs: %w", err)
	}
	switch args[0] {
	case "run":
		state, err := filepath.Abs(*dir)
		if err != nil {
			return fmt.Errorf("finding the state directory: %w", err)
		}
		return foreground(ctx, fixedLayout(programs, state), out)
	case "demo":
		return demo(ctx, programs, out)
	}
	return fmt.Errorf("%q is no command\n%s", args[0], usage)
}
