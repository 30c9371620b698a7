// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// completeTimeout bounds what a press of the tab key may take.
const completeTimeout = time.Second

const completePart = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace

// completeCollections completes one argument that is a collection.
func (s *session) completeCollections(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.completeNames(cmd, args, typed)
}

// completeNames completes an argument that is a name, part by part: collections are known, ids are
// asked of the server.
func (s *session) completeNames(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	parts := strings.Split(typed, "/")
	done := parts[:len(parts)-1]
	if len(done)%2 == 1 {
		return s.completeIDs(cmd.Context(), strings.Join(done, "/")), completePart
	}
	var found []string
	for _, k := range kinds() {
		if len(k.pattern) > len(done)+1 && matches(k.pattern, done) {
			found = append(found, strings.Join(append(slices.Clip(done), k.pattern[len(done)]), "/"))
		}
	}
	return slices.Compact(found), completePart // sorted, because kinds are
}

// completeIDs returns the names of a collection, none if the server does not answer soon.
func (s *session) completeIDs(ctx context.Context, collection string) []string {
	t, err := findCollection(collection)
	if err != nil || t.methods[verbList] == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	var names []string
	err = s.connect(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		items, err := t.list(ctx, conn)
		for _, item := range items {
			names = append(names, item.Get(item.Descriptor().Fields().ByName("name")).String())
		}
		return err
	})
	if err != nil {
		return nil
	}
	return names
}

// completeFields completes a name first and fields of its kind after that.
func (s *session) completeFields(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return s.completeNames(cmd, args, typed)
	}
	t, err := find(args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var paths []string
	settable(t.message, "", func(path string) { paths = append(paths, path+"=") })
	return paths, completePart
}

// settable visits the paths of all fields that clients set.
func settable(desc protoreflect.MessageDescriptor, prefix string, visit func(string)) {
	for i := range desc.Fields().Len() {
		fd := desc.Fields().Get(i)
		switch {
		case behaves(fd, annotations.FieldBehavior_OUTPUT_ONLY), behaves(fd, annotations.FieldBehavior_IDENTIFIER):
		case plain(fd):
			visit(prefix + string(fd.Name()))
		default:
			settable(fd.Message(), prefix+string(fd.Name())+".", visit)
		}
	}
}
