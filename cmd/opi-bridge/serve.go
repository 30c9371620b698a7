// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"

	"github.com/spf13/cobra"
)

func serveCommand(env func(string) (string, bool), logOutput io.Writer) *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the OPI storage API",
		Long: `Serve the OPI storage API until SIGINT or SIGTERM, over gRPC and REST.

Each flag can also be set by an environment variable, OPI_BRIDGE_GRPC_LISTEN for --grpc-listen, and
in the YAML file that --config names, "grpc-listen: 127.0.0.1:50051". A flag wins over the
environment, the environment over the file.

Neither the data plane nor the store need to be there at the start: until they are, /readyz and the
gRPC health service say so, and calls answer UNAVAILABLE.`,
		Example: `  opi-bridge serve --spdk unix:///var/tmp/spdk.sock --store redis://127.0.0.1:6379/0 --instance dpu-1
  opi-bridge serve --spdk tcp://10.0.0.2:5260 --store bolt:///var/lib/opi-bridge/state.db`,
		Args: cobra.NoArgs,
	}
	s.define(cmd.Flags())
	cmd.Flags().String(configFlag, "", "YAML file with settings, by the names of these flags")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := fill(cmd.Flags(), env); err != nil {
			return err
		}
		if err := s.check(); err != nil {
			return err
		}
		return serve(cmd.Context(), s, logOutput)
	}
	return cmd
}
