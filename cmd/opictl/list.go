// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func listCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "list COLLECTION",
		Short: "Show all resources of a collection",
		Example: `  opictl list nvmeSubsystems
  opictl list nvmeSubsystems/web-1/nvmeNamespaces -o json`,
		Args:              exactly(1, "one collection"),
		ValidArgsFunction: s.completeCollections,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.checkOutput(); err != nil {
				return err
			}
			t, err := findCollection(args[0])
			if err != nil {
				return err
			}
			if _, err := t.method(verbList); err != nil {
				return err
			}
			return s.connect(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				items, err := t.list(ctx, conn)
				if err != nil {
					return err
				}
				return s.show(cmd.OutOrStdout(), items, true)
			})
		},
	}
}

// pageSize is how many resources are asked for at a time.
const pageSize = 500

// list returns all resources of the collection, page by page.
func (t target) list(ctx context.Context, conn *grpc.ClientConn) ([]protoreflect.Message, error) {
	var items []protoreflect.Message
	token := ""
	for {
		page, err := invoke(ctx, conn, t.methods[verbList], func(in protoreflect.Message) error {
			setText(in, "parent", t.parent)
			setText(in, "page_token", token)
			in.Set(in.Descriptor().Fields().ByName("page_size"), protoreflect.ValueOfInt32(pageSize))
			return nil
		})
		if err != nil {
			return nil, err
		}
		fields := page.Descriptor().Fields()
		for i := range fields.Len() {
			if fd := fields.Get(i); fd.IsList() {
				list := page.Get(fd).List()
				for j := range list.Len() {
					items = append(items, list.Get(j).Message())
				}
			}
		}
		if token = page.Get(fields.ByName("next_page_token")).String(); token == "" {
			return items, nil
		}
	}
}
