// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/opi-bridge/opi-bridge/pkg/dataplane"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/telemetry"
)

// closeTimeout bounds how long the end waits for users of bdevs.
const closeTimeout = 5 * time.Second

func serveCommand() *cobra.Command {
	var settings serveSettings
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve SPDK's JSON-RPC until SIGTERM or SIGINT",
		Long: `Serve SPDK's JSON-RPC until SIGTERM or SIGINT.

A unix socket is guarded by PATH.lock, as SPDK guards its own: a socket that a killed process has
left is replaced, one that is being served is refused. Both are removed at the end.
TCP has no protection at all: listen on loopback, or where nobody else can reach.`,
		Example: "  opi-dataplane serve --rpc-listen unix:///var/tmp/spdk.sock",
		Args:    func(_ *cobra.Command, args []string) error { return noArgs(args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), &settings)
		},
	}
	cmd.Flags().StringVar(&settings.rpcListen, "rpc-listen", "unix:///var/tmp/spdk.sock",
		"where to serve: unix:///PATH or tcp://HOST:PORT")
	cmd.Flags().StringVar(&settings.vhostDir, "vhost-dir", "/var/tmp", "where to make the sockets of vhost controllers")
	cmd.Flags().StringVar(&settings.spdkVersion, "spdk-version", "",
		"play this version of SPDK, from 24.01 on (default the newest known)")
	cmd.Flags().IntVar(&settings.maxSubsystems, "max-subsystems", 1024,
		"how many NVMe subsystems there can be, the discovery subsystem among them; SPDK has nvmf_set_max_subsystems for it")
	cmd.Flags().BoolVar(&settings.waitForRPC, "wait-for-rpc", false,
		"do nothing before framework_start_init has been called, as SPDK with this option")
	cmd.Flags().BoolVar(&settings.crashLikeSPDK, "crash-like-spdk", false,
		"die where SPDK would: when a bdev is shown whose key was destroyed")
	cmd.Flags().StringSliceVar(&settings.without, "without-module", nil,
		"answer as an SPDK that was built without these, comma-separated: "+strings.Join(dataplane.Modules(), ", "))
	settings.log.register(cmd.Flags())
	return cmd
}

// serveSettings are the flags of serve.
type serveSettings struct {
	rpcListen, vhostDir, spdkVersion string
	crashLikeSPDK, waitForRPC        bool
	without                          []string
	maxSubsystems                    int
	log                              logSettings
}

func noArgs(args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

func serve(ctx context.Context, settings *serveSettings) (err error) {
	log, level, err := settings.log.logger(os.Stderr)
	if err != nil {
		return err
	}
	at, err := parseEndpoint(settings.rpcListen)
	if err != nil {
		return usageError{err}
	}
	if info, err := os.Stat(settings.vhostDir); err != nil || !info.IsDir() {
		log.Warn("no vhost controller can be made: --vhost-dir is not a directory", "dir", settings.vhostDir)
	}
	if settings.maxSubsystems < 1 {
		return usageError{fmt.Errorf("--max-subsystems is %d: must be 1 or more, the discovery subsystem is one", settings.maxSubsystems)}
	}
	server, err := dataplane.New(dataplane.Config{
		Log: log, Level: level, Version: telemetry.ReadBuild(version).Version,
		VhostDir: settings.vhostDir, SPDKVersion: settings.spdkVersion, CrashLikeSPDK: settings.crashLikeSPDK, Without: settings.without,
		MaxSubsystems: settings.maxSubsystems, WaitForRPC: settings.waitForRPC,
		Kill: func(sig os.Signal) error {
			self, err := os.FindProcess(os.Getpid())
			if err != nil {
				return fmt.Errorf("find the own process: %w", err)
			}
			return self.Signal(sig) //nolint:wrapcheck // the caller says what it was for
		},
	})
	if errors.Is(err, errdefs.InvalidArgument) {
		return usageError{fmt.Errorf("--spdk-version or --without-module: %w", err)}
	}
	if err != nil {
		return fmt.Errorf("set up the data plane: %w", err)
	}
	l, cleanup, err := at.listen(ctx)
	if err != nil {
		return err
	}
	log.Info("serving", "rpc", settings.rpcListen, "address", l.Addr().String(), "pid", os.Getpid())
	served := server.Serve(ctx, l)
	log.Info("stopping")
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err = errors.Join(served, server.Close(closing), cleanup())
	log.Info("stopped")
	return err
}
