// SPDX-License-Identifier: Apache-2.0

// Command opi-bridge is the control plane of a DPU: it serves the OPI storage API and keeps the data
// plane equal to what was asked for.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/opi-bridge/opi-bridge/pkg/telemetry"
)

// version is set by the linker for releases; empty means what the toolchain recorded.
var version string //nolint:gochecknoglobals // the linker can set nothing else

func main() {
	if err := run(context.Background(), os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "opi-bridge:", err)
		os.Exit(exitCode(err))
	}
}

// exitCode is 1 unless an error has one of its own.
func exitCode(err error) int {
	if errors.Is(err, errFindings) {
		return exitFindings
	}
	return 1
}

// run is main without the process: it ends when the command has, or after SIGINT or SIGTERM.
func run(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the default is restored, so that a second one ends the process at once.
	context.AfterFunc(ctx, stop)

	root := &cobra.Command{
		Use:           "opi-bridge",
		Short:         "Serves the OPI storage API on an SPDK data plane",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(serveCommand(env, stderr), storeCommand(env), versionCommand()) //nolint:contextcheck // commands get it from ExecuteContext
	return root.ExecuteContext(ctx)
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what this binary was made from",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := telemetry.ReadBuild(version)
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "opi-bridge %s %s %s\n", b.Version, orDash(b.Revision), b.Go)
			return err
		},
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
