// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func deleteCommand(s *session) *cobra.Command {
	var allowMissing bool
	cmd := &cobra.Command{
		Use:               "delete NAME...",
		Short:             "Remove resources, in the order given",
		Example:           "  opictl delete nvmeSubsystems/web-1/nvmeNamespaces/disk-1 nvmeSubsystems/web-1",
		Args:              atLeast(1, "the name of a resource"),
		ValidArgsFunction: s.completeNames,
	}
	cmd.Flags().BoolVar(&allowMissing, "allow-missing", false, "be content if the resource does not exist")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		targets, err := s.prepare(args, verbDelete)
		if err != nil {
			return err
		}
		return s.connect(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
			for _, t := range targets {
				_, err := invoke(ctx, conn, t.methods[verbDelete], func(in protoreflect.Message) error {
					setText(in, "name", t.name())
					setFlag(in, "allow_missing", allowMissing)
					return nil
				})
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is gone\n", t.name())
			}
			return nil
		})
	}
	return cmd
}
