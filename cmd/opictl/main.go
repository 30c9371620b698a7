// SPDX-License-Identifier: Apache-2.0

// Command opictl is the command line of the OPI storage API for people. What kinds of resources and
// fields there are it reads from the API's descriptors, so it knows every kind that the API has.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Exit statuses, a contract for scripts.
const (
	exitOK      = 0
	exitFailed  = 1 // the server refused, or something else went wrong
	exitUsage   = 2 // the command line makes no sense; nothing was sent
	exitAway    = 3 // the server, or a part of it, is away: the same command may work later
	exitMissing = 4 // what was named does not exist
)

// version is set by the linker for releases; empty means what the toolchain recorded.
var version string //nolint:gochecknoglobals // the linker can set nothing else

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is main without the process; it returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	printError(stderr, err)
	return exitStatus(err)
}

// rootCommand returns the command with all its subcommands.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "opictl",
		Short: "Look at and change the storage resources of a DPU",
		Example: `  opictl create mallocVolumes/vol-1 block_size=512 blocks_count=131072
  opictl create nvmeSubsystems/web-1 spec.nqn=nqn.2024-01.io.example:web-1
  opictl create nvmeSubsystems/web-1/nvmeNamespaces/disk-1 spec.volume_name_ref=mallocVolumes/vol-1
  opictl list nvmeSubsystems/web-1/nvmeNamespaces
  opictl delete mallocVolumes/vol-1`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = ": did you mean " + strings.Join(near, ", ") + "?"
			}
			return usagef("there is no command %q%s", args[0], hint)
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	s := &session{}
	s.flags(root.PersistentFlags())
	for _, command := range []func(*session) *cobra.Command{
		getCommand, listCommand, createCommand, updateCommand, deleteCommand, statsCommand, resetCommand,
		explainCommand, statusCommand, capabilitiesCommand, versionCommand,
	} {
		root.AddCommand(command(s))
	}
	return root
}

// usageError is a mistake in the command line.
type usageError struct{ error }

// Unwrap returns the error itself.
func (e usageError) Unwrap() error { return e.error }

// usagef returns a usageError.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitStatus returns the exit status for an error.
func exitStatus(err error) int {
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errdefs.Unavailable), errors.Is(err, errdefs.OutcomeUnknown), errors.Is(err, errdefs.DeadlineExceeded):
		return exitAway
	case errors.Is(err, errdefs.NotFound):
		return exitMissing
	}
	return exitFailed
}

// printError writes an error for people: what, and then each field and each thing that stands in the
// way on its own line.
func printError(w io.Writer, err error) {
	fmt.Fprintf(w, "opictl: %v\n", err)
	fields := errdefs.Fields(err)
	for _, f := range fields {
		if len(fields) > 1 {
			fmt.Fprintf(w, "  %s: %s\n", f.Field, f.Description)
		}
	}
	for _, p := range errdefs.Preconditions(err) {
		fmt.Fprintf(w, "  %s: %s: %s\n", p.Type, p.Subject, p.Description)
	}
	var usage usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintln(w, "See opictl --help.")
	case errdefs.ClassOf(err) == errdefs.OutcomeUnknown:
		fmt.Fprintln(w, "Whether it was done is unknown: look, or repeat the command, which does no harm.")
	}
}
