// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

func statsCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "stats NAME...",
		Short: "Show I/O counters",
		Long: `Show I/O counters since the data plane made the thing, and how long an operation took on average.
Servers other than opi-bridge have the API's 32-bit counters only, which stay at 2147483647 when they
are full, and do not tell the unit of their latencies.`,
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
					n, err := count(ctx, conn, t)
					if err != nil {
						return err
					}
					counted = append(counted, n)
				}
				return s.printStats(cmd.OutOrStdout(), counted)
			})
		},
	}
}

// count asks for the counters of a resource: with all their bits, or as the API has them when the server
// is not opi-bridge.
func count(ctx context.Context, conn *grpc.ClientConn, t target) (named, error) {
	whole, err := bridgev1.NewBridgeServiceClient(conn).GetStats(ctx, &bridgev1.GetStatsRequest{Name: t.name()})
	if err == nil {
		return named{name: t.name(), stats: whole.ProtoReflect()}, nil
	}
	if !errors.Is(err, errdefs.Unimplemented) {
		return named{}, err
	}
	answer, err := invoke(ctx, conn, t.methods[verbStats], func(in protoreflect.Message) error {
		setText(in, "name", t.name())
		return nil
	})
	if err != nil {
		return named{}, err
	}
	stats := answer.Descriptor().Fields().ByName("stats")
	return named{name: t.name(), stats: answer.Get(stats).Message()}, nil
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
	columns := append([]string{"NAME"}, columnsOf(counted[0])...)
	fmt.Fprintln(table, strings.Join(columns, "\t"))
	for _, n := range counted {
		line := []string{n.name}
		for _, column := range columnsOf(n) {
			line = append(line, n.cell(column))
		}
		fmt.Fprintln(table, strings.Join(line, "\t"))
	}
	return table.Flush()
}

// latencySuffix ends the columns of mean latencies, in microseconds.
const latencySuffix = "_LATENCY_US"

// columnsOf returns the heads of the columns for counters: all fields of the API's, and of whole ones
// means in the place of sums of ticks.
func columnsOf(n named) []string {
	var columns []string
	fields := n.stats.Descriptor().Fields()
	for i := range fields.Len() {
		name := strings.ToUpper(strings.TrimSuffix(string(fields.Get(i).Name()), "_count"))
		operation, sum := strings.CutSuffix(name, "_LATENCY_TICKS")
		_, whole := n.stats.Interface().(*bridgev1.Stats)
		switch {
		case whole && sum:
			columns = append(columns, operation+latencySuffix)
		case whole && (name == "NAME" || name == "SAMPLE_TIME" || name == "TICK_RATE_HZ"):
		default:
			columns = append(columns, name)
		}
	}
	return columns
}

// cell returns what stands in a column.
func (n named) cell(column string) string {
	value := func(field string) uint64 {
		fd := n.stats.Descriptor().Fields().ByName(protoreflect.Name(strings.ToLower(field)))
		if fd == nil {
			fd = n.stats.Descriptor().Fields().ByName(protoreflect.Name(strings.ToLower(field) + "_count"))
		}
		if fd.Kind() == protoreflect.Uint64Kind {
			return n.stats.Get(fd).Uint()
		}
		return uint64(max(0, n.stats.Get(fd).Int()))
	}
	operation, mean := strings.CutSuffix(column, latencySuffix)
	if !mean {
		return strconv.FormatUint(value(column), 10)
	}
	ops, rate := value(operation+"_OPS"), value("TICK_RATE_HZ")
	if ops == 0 || rate == 0 {
		return "-"
	}
	return strconv.FormatFloat(float64(value(operation+"_LATENCY_TICKS"))/float64(rate)/float64(ops)*1e6, 'f', 1, 64)
}
