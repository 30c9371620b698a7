// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func explainCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "explain [COLLECTION]",
		Short: "List the collections of the API, or the fields of one",
		Example: `  opictl explain
  opictl explain nvmeSubsystems/web-1/nvmeNamespaces`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: s.completeCollections,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return explainAll(cmd.OutOrStdout())
			}
			t, err := find(args[0])
			if err != nil {
				t, err = byPlural(args[0], err)
			}
			if err != nil {
				return err
			}
			return explain(cmd.OutOrStdout(), t.kind)
		},
	}
}

// byPlural finds a kind by the last part of its collection alone, which is enough to explain it.
func byPlural(arg string, otherwise error) (target, error) {
	for _, k := range kinds() {
		if k.plural() == arg || k.collection() == arg {
			return target{kind: k}, nil
		}
	}
	return target{}, otherwise
}

func explainAll(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	fmt.Fprintln(table, "COLLECTION\tCAN")
	for _, k := range kinds() {
		var can []string
		for _, verb := range []string{verbCreate, verbGet, verbList, verbUpdate, verbDelete, verbStats, verbReset} {
			if k.methods[verb] != nil {
				can = append(can, strings.ToLower(verb))
			}
		}
		fmt.Fprintf(table, "%s\t%s\n", k.collection(), strings.Join(can, " "))
	}
	return table.Flush()
}

func explain(w io.Writer, k *kind) error {
	fmt.Fprintf(w, "%s/%s\n\n", k.collection(), k.pattern[len(k.pattern)-1])
	table := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	fmt.Fprintln(table, "FIELD\tTYPE\t")
	explainFields(table, k.message, "")
	return table.Flush()
}

func explainFields(w io.Writer, desc protoreflect.MessageDescriptor, prefix string) {
	for i := range desc.Fields().Len() {
		fd := desc.Fields().Get(i)
		if behaves(fd, annotations.FieldBehavior_IDENTIFIER) {
			continue
		}
		var notes []string
		switch {
		case behaves(fd, annotations.FieldBehavior_REQUIRED):
			notes = append(notes, "required")
		case behaves(fd, annotations.FieldBehavior_OUTPUT_ONLY):
			notes = append(notes, "set by the server")
		}
		if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() {
			notes = append(notes, "one of "+string(one.Name()))
		}
		if plain(fd) {
			fmt.Fprintf(w, "%s\t%s\t%s\n", prefix+string(fd.Name()), typeOf(fd), strings.Join(notes, ", "))
			continue
		}
		if len(notes) > 0 {
			fmt.Fprintf(w, "%s\tfields\t%s\n", prefix+string(fd.Name()), strings.Join(notes, ", "))
		}
		explainFields(w, fd.Message(), prefix+string(fd.Name())+".")
	}
}

// typeOf names the type of a field, with the names that an enum has.
func typeOf(fd protoreflect.FieldDescriptor) string {
	name := fd.Kind().String()
	switch {
	case fd.Enum() != nil:
		prefix := strings.TrimSuffix(string(fd.Enum().Values().Get(0).Name()), "UNSPECIFIED")
		var values []string
		for i := 1; i < fd.Enum().Values().Len(); i++ {
			values = append(values, strings.TrimPrefix(string(fd.Enum().Values().Get(i).Name()), prefix))
		}
		name = strings.Join(values, "|")
	case fd.Message() != nil:
		name = strings.ToLower(strings.TrimSuffix(string(fd.Message().Name()), "Value"))
	}
	if fd.IsList() {
		name += ", several"
	}
	return name
}
