// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func createCommand(s *session) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "create NAME|COLLECTION [FIELD=VALUE...]",
		Short: "Make a resource",
		Long: `Make a resource. With a collection instead of a name the server chooses the id.

A field is given by its path, FIELD=VALUE; "opictl explain COLLECTION" lists them. Bytes, such as
keys, are base64, or @file. Several values for a list: give the field several times.`,
		Example: `  opictl create mallocVolumes/vol-1 block_size=512 blocks_count=131072
  opictl create nvmeSubsystems/web-1 -f subsystem.yaml`,
		Args:              atLeast(1, "the name of the resource, or its collection"),
		ValidArgsFunction: s.completeFields,
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "file with the resource as JSON or YAML, - for standard input; fields on the command line win")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := s.checkOutput(); err != nil {
			return err
		}
		t, err := find(args[0])
		if err != nil {
			return err
		}
		method, err := t.method(verbCreate)
		if err != nil {
			return err
		}
		resource, _, err := t.newResource(cmd.InOrStdin(), file, args[1:])
		if err != nil {
			return err
		}
		return s.connect(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
			made, err := invoke(ctx, conn, method, func(in protoreflect.Message) error {
				fd := setResource(in, resource)
				if fd == nil {
					return errors.New("the API's create request has no place for the resource")
				}
				setText(in, "parent", t.parent)
				setText(in, string(fd.Name())+"_id", t.id)
				return nil
			})
			if err != nil {
				return err
			}
			return s.show(cmd.OutOrStdout(), []protoreflect.Message{made}, false)
		})
	}
	return cmd
}
