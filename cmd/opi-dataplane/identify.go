// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func identifyCommand() *cobra.Command {
	var s initiatorSettings
	cmd := &cobra.Command{
		Use:     "identify",
		Short:   "Connect to an NVMe/TCP subsystem and print what a host sees of it",
		Example: "  opi-dataplane identify --address tcp://127.0.0.1:4420 --subnqn nqn.2016-06.io.spdk:cnode1",
		Args:    func(_ *cobra.Command, args []string) error { return noArgs(args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			return identify(cmd.Context(), cmd.OutOrStdout(), &s)
		},
	}
	s.register(cmd.Flags())
	return cmd
}

// subsystemReport is a subsystem in output.
type subsystemReport struct {
	Subnqn     string            `json:"subnqn"`
	Serial     string            `json:"serial"`
	Model      string            `json:"model"`
	Firmware   string            `json:"firmware"`
	CNTLID     uint16            `json:"cntlid"`
	Namespaces []namespaceReport `json:"namespaces"`
}

func identify(ctx context.Context, out io.Writer, s *initiatorSettings) (err error) {
	i, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.close(ctx)) }()
	report := subsystemReport{
		Subnqn: i.remote.Subnqn, Serial: i.remote.SerialNumber, Model: i.remote.ModelNumber,
		Firmware: i.remote.Firmware, CNTLID: i.remote.CNTLID, Namespaces: []namespaceReport{},
	}
	for n := range i.remote.Namespaces {
		report.Namespaces = append(report.Namespaces, newNamespaceReport(&i.remote.Namespaces[n]))
	}
	if s.json {
		return printJSON(out, report)
	}
	fmt.Fprintf(out, "subsystem   %s\n  serial    %s\n  model     %s\n  firmware  %s\n",
		report.Subnqn, report.Serial, report.Model, report.Firmware)
	for n := range report.Namespaces {
		printNamespace(out, &report.Namespaces[n])
	}
	return nil
}

func printNamespace(out io.Writer, ns *namespaceReport) {
	fmt.Fprintf(out, "namespace %d  %s, %d blocks of %d bytes\n  uuid      %s\n  nguid     %s\n",
		ns.NSID, mebibytes(ns.Size), ns.Blocks, ns.BlockSize, ns.UUID, ns.NGUID)
	if ns.EUI64 != "" {
		fmt.Fprintf(out, "  eui64     %s\n", ns.EUI64)
	}
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// printJSON writes an object and a newline.
func printJSON(out io.Writer, v any) error {
	if err := json.NewEncoder(out).Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
