// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

func updateCommand(s *session) *cobra.Command {
	var (
		file         string
		mask         []string
		allowMissing bool
	)
	cmd := &cobra.Command{
		Use:   "update NAME [FIELD=VALUE...]",
		Short: "Change fields of a resource",
		Long: `Change fields of a resource: those on the command line, or, with -f alone, those that the file
sets. FIELD= without a value clears the field. --mask says otherwise: fields by path, or "*" for all.`,
		Example:           "  opictl update nvmeSubsystems/web-1/nvmeNamespaces/disk-1 spec.volume_name_ref=mallocVolumes/vol-2",
		Args:              atLeast(1, "the name of the resource"),
		ValidArgsFunction: s.completeFields,
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "file with the resource as JSON or YAML, - for standard input; fields on the command line win")
	cmd.Flags().StringSliceVar(&mask, "mask", nil, "fields to change, by path, separated by commas")
	cmd.Flags().BoolVar(&allowMissing, "allow-missing", false, "make the resource if it does not exist")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		targets, err := s.prepare(args[:1], verbUpdate)
		if err != nil {
			return err
		}
		t := targets[0]
		resource, paths, err := t.newResource(cmd.InOrStdin(), file, args[1:])
		if err != nil {
			return err
		}
		switch {
		case len(mask) > 0:
			paths = mask
		case file == "" && len(paths) == 0:
			return usagef("say what to change: FIELD=VALUE, or -f")
		case file != "":
			paths = nil // the server changes the fields that are set
		}
		setText(resource.ProtoReflect(), "name", t.name())
		return s.connect(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
			changed, err := invoke(ctx, conn, t.methods[verbUpdate], func(in protoreflect.Message) error {
				if setResource(in, resource) == nil {
					return errors.New("the API's update request has no place for the resource")
				}
				if len(paths) > 0 {
					m := &fieldmaskpb.FieldMask{Paths: paths}
					in.Set(in.Descriptor().Fields().ByName("update_mask"), protoreflect.ValueOfMessage(m.ProtoReflect()))
				}
				setFlag(in, "allow_missing", allowMissing)
				return nil
			})
			if err != nil {
				return err
			}
			return s.show(cmd.OutOrStdout(), []protoreflect.Message{changed}, false)
		})
	}
	return cmd
}
