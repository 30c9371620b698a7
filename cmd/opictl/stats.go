// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func statsCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "stats NAME...",
		Short: "Show I/O counters",
		Long: `Show I/O counters. The API's counters have 32 bits and stay at 2147483647 when they are full; the
bridge's /metrics have all 64.`,
		Args:              atLeast(1, "the name of a resource"),
		ValidArgsFunction: s.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, err := s.prepare(args, verbStats)
			if err != nil {
				return err
			}
			return s.connect(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				counted := make([]named, 0, len(targets))
				for _, t := range targets {
					answer, err := invoke(ctx, conn, t.methods[verbStats], func(in protoreflect.Message) error {
						setText(in, "name", t.name())
						return nil
					})
					if err != nil {
						return err
					}
					stats := answer.Descriptor().Fields().ByName("stats")
					counted = append(counted, named{name: t.name(), stats: answer.Get(stats).Message()})
				}
				return s.printStats(cmd.OutOrStdout(), counted)
			})
		},
	}
}

// named are the counters of a resource.
type named struct {
	name  string
	stats protoreflect.Message
}

// MarshalJSON puts the name before the counters.
func (n named) MarshalJSON() ([]byte, error) {
	name, err := json.Marshal(n.name)
	if err != nil {
		return nil, err
	}
	stats, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(n.stats.Interface())
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, stats); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"name":%s,"stats":%s}`, name, compact.Bytes()), nil
}

func (s *session) printStats(w io.Writer, counted []named) error {
	if s.output != "table" {
		if len(counted) == 1 {
			return printTree(w, counted[0], s.output)
		}
		return printTree(w, counted, s.output)
	}
	table := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	fields := counted[0].stats.Descriptor().Fields()
	line := []string{"NAME"}
	for i := range fields.Len() {
		line = append(line, strings.ToUpper(strings.TrimSuffix(string(fields.Get(i).Name()), "_count")))
	}
	fmt.Fprintln(table, strings.Join(line, "\t"))
	for _, n := range counted {
		line = append(line[:0], n.name)
		for i := range fields.Len() {
			line = append(line, n.stats.Get(fields.Get(i)).String())
		}
		fmt.Fprintln(table, strings.Join(line, "\t"))
	}
	return table.Flush()
}
