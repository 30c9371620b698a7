// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

func capabilitiesCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "capabilities",
		Short: "Show what the bridge and its data plane can do",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.checkOutput(); err != nil {
				return err
			}
			return s.connect(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				c, err := bridgev1.NewBridgeServiceClient(conn).GetCapabilities(ctx, &bridgev1.GetCapabilitiesRequest{})
				if err != nil {
					return err
				}
				if s.output != "table" {
					return s.show(cmd.OutOrStdout(), []protoreflect.Message{c.ProtoReflect()}, false)
				}
				return showCapabilities(cmd.OutOrStdout(), c)
			})
		},
	}
}

func showCapabilities(w io.Writer, c *bridgev1.Capabilities) error {
	words := func(s fmt.Stringer) string { return strings.ToLower(strings.ReplaceAll(s.String(), "_", "-")) }
	table := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	fmt.Fprintf(table, "data plane\t%s\n", c.GetVersion())
	for _, t := range c.GetTransports() {
		fmt.Fprintf(table, "transport %s\tto hosts: %s, from storage: %s", t.GetTransport(), words(t.GetListen()), words(t.GetAttach()))
		if t.GetReason() != "" {
			fmt.Fprintf(table, " (%s)", t.GetReason())
		}
		fmt.Fprintln(table)
	}
	frontends := make([]string, 0, len(c.GetFrontends()))
	for _, f := range c.GetFrontends() {
		frontends = append(frontends, words(f))
	}
	fmt.Fprintf(table, "frontends\t%s\n", orNone(frontends))
	fmt.Fprintf(table, "volumes\t%s\n", orNone(c.GetVolumeKinds()))
	for _, cipher := range c.GetCiphers() {
		fmt.Fprintf(table, "cipher %s\tkeys of %s bits\n", cipher.GetCipher(), strings.Trim(fmt.Sprint(cipher.GetKeyBits()), "[]"))
	}
	for _, l := range c.GetLimits() {
		fmt.Fprintf(table, "limit %s\t%s, in steps of %d\n", l.GetName(), l.GetUnit(), l.GetStep())
	}
	tls := "yes"
	if !c.GetTls() {
		tls = "no: " + c.GetTlsReason()
	}
	fmt.Fprintf(table, "TLS with pre-shared keys\t%s\n", tls)
	return table.Flush()
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
