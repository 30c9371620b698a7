// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// readiness is what the bridge's /readyz says.
type readiness struct {
	Ready bool `json:"ready"`
	Parts []struct {
		Name   string `json:"name"`
		Ready  bool   `json:"ready"`
		Detail string `json:"detail,omitempty"`
	} `json:"parts"`
	Resources map[string]int `json:"resources,omitempty"`
	NotReady  []struct {
		Name   string `json:"name"`
		Reason string `json:"reason"`
	} `json:"not_ready,omitempty"`
}

func statusCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "status [NAME...]",
		Short: "Say whether the bridge, or some resources, are ready, and what is not",
		Long: `Say whether the bridge is ready, and what is not, as its /readyz does; or whether the data plane holds
the named resources as it should, and if not, why and since when. The exit status is 0 when all that was
asked about is ready and 3 when it is not.`,
		ValidArgsFunction: s.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return s.resourceStatus(cmd, args)
			}
			if err := s.checkOutput(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), s.timeout)
			defer cancel()
			r, err := s.readyz(ctx)
			if err != nil {
				return err
			}
			if s.output == "table" {
				err = r.show(cmd.OutOrStdout())
			} else {
				err = printTree(cmd.OutOrStdout(), r, s.output)
			}
			if err == nil && !r.Ready {
				err = errdefs.New(errdefs.Unavailable, "the bridge is not ready")
			}
			return err
		},
	}
}

// readyz asks the bridge.
func (s *session) readyz(ctx context.Context) (*readiness, error) {
	cfg, err := s.secure(s.web)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if cfg != nil {
		scheme = "https"
	}
	url := fmt.Sprintf("%s://%s/readyz", scheme, s.web)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, usagef("--http %q: want host:port", s.web)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, errdefs.Wrap(errdefs.Unavailable, err, "the bridge does not answer over HTTP at %s", s.web)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxFile))
	if err != nil {
		return nil, errdefs.Wrap(errdefs.Unavailable, err, "reading %s", url)
	}
	var r readiness
	if err := json.Unmarshal(raw, &r); err != nil || r.Parts == nil {
		return nil, fmt.Errorf("%s answers %s, but not as a bridge does: is --http right?", url, resp.Status)
	}
	return &r, nil
}

func (r *readiness) show(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	for _, p := range r.Parts {
		fmt.Fprintf(table, "%s\t%s\t%s\n", p.Name, yesNo(p.Ready), p.Detail)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	states := make([]string, 0, len(r.Resources))
	for state, n := range r.Resources {
		states = append(states, fmt.Sprintf("%d %s", n, state))
	}
	if len(states) > 0 {
		slices.Sort(states)
		fmt.Fprintf(w, "\nresources: %s\n", strings.Join(states, ", "))
	}
	if len(r.NotReady) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nnot ready:")
	for _, n := range r.NotReady {
		fmt.Fprintf(table, "  %s\t%s\n", n.Name, n.Reason)
	}
	return table.Flush()
}

func yesNo(ready bool) string {
	if ready {
		return "ready"
	}
	return "not ready"
}
