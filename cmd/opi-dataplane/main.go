// SPDX-License-Identifier: Apache-2.0

// Opi-dataplane is the embedded data plane: a process that speaks SPDK's JSON-RPC and moves real
// data, for machines without SPDK.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/opi-bridge/opi-bridge/pkg/telemetry"
)

// version is set by the linker for releases; empty means what the toolchain recorded.
var version string //nolint:gochecknoglobals // the linker can set nothing else

// Exit statuses besides 0.
const (
	exitFailed = 1 // what was asked for did not work, or data did not hold
	exitUsage  = 2 // the command line is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:]))
}

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func run(ctx context.Context, args []string) int {
	root := &cobra.Command{
		Use:     "opi-dataplane",
		Short:   "The embedded data plane: SPDK's JSON-RPC over real disks, for machines without SPDK",
		Version: telemetry.ReadBuild(version).Version,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q", args[0])}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("a command is missing: serve, identify or io")}
		},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetArgs(args)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(serveCommand(), identifyCommand(), ioCommand()) //nolint:contextcheck // cobra hands the context to commands
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "opi-dataplane: %v (see opi-dataplane --help)\n", err)
		return exitUsage
	default:
		fmt.Fprintf(os.Stderr, "opi-dataplane: %v\n", err)
		return exitFailed
	}
}
