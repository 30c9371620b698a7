// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

// resourceStatus shows how resources stand.
func (s *session) resourceStatus(cmd *cobra.Command, args []string) error {
	targets, err := s.prepare(args, verbGet)
	if err != nil {
		return err
	}
	return s.connect(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
		client := bridgev1.NewBridgeServiceClient(conn)
		var waiting []string
		statuses := make([]protoreflect.Message, 0, len(targets))
		for _, t := range targets {
			status, err := client.GetResourceStatus(ctx, &bridgev1.GetResourceStatusRequest{Name: t.name()})
			if err != nil {
				return err
			}
			if !status.GetReady() {
				waiting = append(waiting, status.GetName())
			}
			statuses = append(statuses, status.ProtoReflect())
		}
		if err := s.showStatuses(cmd, statuses); err != nil {
			return err
		}
		if len(waiting) > 0 {
			return errdefs.New(errdefs.Unavailable, "%d of %d resources are not ready", len(waiting), len(targets))
		}
		return nil
	})
}

// showStatuses prints statuses of resources.
func (s *session) showStatuses(cmd *cobra.Command, statuses []protoreflect.Message) error {
	if s.output != "table" {
		return s.show(cmd.OutOrStdout(), statuses, len(statuses) > 1)
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 3, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tREADY\tSINCE\tATTEMPTS\tWHY NOT")
	for _, m := range statuses {
		status, ok := m.Interface().(*bridgev1.ResourceStatus)
		if !ok {
			continue
		}
		since, why := "-", status.GetError()
		if t := status.GetNotReadySinceTime(); t != nil {
			since = t.AsTime().Format(time.RFC3339)
		}
		if why == "" {
			why = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\n", status.GetName(), status.GetState(), yesNo(status.GetReady()), since, status.GetAttempts(), why)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, m := range statuses {
		if status, ok := m.Interface().(*bridgev1.ResourceStatus); ok {
			showOthers(cmd.OutOrStdout(), status)
		}
	}
	return nil
}

// showOthers prints what others have done to a resource's objects, if anything.
func showOthers(w io.Writer, status *bridgev1.ResourceStatus) {
	if n := status.GetRepairCount(); n > 0 {
		fmt.Fprintf(w, "%s: changed by others and repaired %d times, the last time at %s: %s\n",
			status.GetName(), n, status.GetLastRepairTime().AsTime().Format(time.RFC3339), status.GetLastRepair())
	}
	for _, what := range status.GetForeignObjects() {
		fmt.Fprintf(w, "%s: made by others and left alone: %s\n", status.GetName(), what)
	}
}
