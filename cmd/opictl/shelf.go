// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// shelf collects resources of any kinds, to be shown together: as one list in JSON and YAML, as a
// table for each run of one kind otherwise.
type shelf struct{ items []protoreflect.Message }

func (b *shelf) add(m protoreflect.Message) { b.items = append(b.items, m) }

func (b *shelf) show(s *session, w io.Writer, list bool) error {
	if s.output != "table" {
		return s.show(w, b.items, list)
	}
	for start := 0; start < len(b.items); {
		end := start
		for end < len(b.items) && b.items[end].Descriptor() == b.items[start].Descriptor() {
			end++
		}
		if start > 0 {
			fmt.Fprintln(w)
		}
		if err := printTable(w, b.items[start:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// atLeast demands n arguments or more.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("give %s", what)
		}
		return nil
	}
}

// exactly demands n arguments.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("give %s, not %d arguments", what, len(args))
		}
		return nil
	}
}
