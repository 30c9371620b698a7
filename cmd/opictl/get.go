// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func getCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:               "get NAME...",
		Short:             "Show resources",
		Example:           "  opictl get mallocVolumes/vol-1 -o yaml",
		Args:              atLeast(1, "the name of a resource"),
		ValidArgsFunction: s.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, err := s.prepare(args, verbGet)
			if err != nil {
				return err
			}
			return s.connect(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				var shown shelf
				for _, t := range targets {
					m, err := invoke(ctx, conn, t.methods[verbGet], func(in protoreflect.Message) error {
						setText(in, "name", t.name())
						return nil
					})
					if err != nil {
						return err
					}
					shown.add(m)
				}
				return shown.show(s, cmd.OutOrStdout(), len(args) > 1)
			})
		},
	}
}

// prepare finds the resources that arguments name and checks that their kinds have the verb.
func (s *session) prepare(args []string, verb string) ([]target, error) {
	if err := s.checkOutput(); err != nil {
		return nil, err
	}
	targets := make([]target, 0, len(args))
	for _, arg := range args {
		t, err := findResource(arg)
		if err != nil {
			return nil, err
		}
		if _, err := t.method(verb); err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}
