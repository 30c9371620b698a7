// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func resetCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:               "reset NAME...",
		Short:             "Disconnect and reconnect remote controllers",
		Example:           "  opictl reset nvmeRemoteControllers/storage-1",
		Args:              atLeast(1, "the name of a resource"),
		ValidArgsFunction: s.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, err := s.prepare(args, verbReset)
			if err != nil {
				return err
			}
			return s.connect(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				for _, t := range targets {
					_, err := invoke(ctx, conn, t.methods[verbReset], func(in protoreflect.Message) error {
						setText(in, "name", t.name())
						return nil
					})
					if err != nil {
						return err
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s was reset\n", t.name())
				}
				return nil
			})
		},
	}
}
