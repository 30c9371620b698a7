// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/opi-bridge/opi-bridge/pkg/telemetry"
)

func versionCommand(*session) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what this binary was made from",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := telemetry.ReadBuild(version)
			revision := b.Revision
			if revision == "" {
				revision = "-"
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "opictl %s %s %s\n", b.Version, revision, b.Go)
			return err
		},
	}
}
