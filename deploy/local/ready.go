// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Waiting for programs: how often to look, and how long.
const (
	lookEvery = 20 * time.Millisecond
	startTime = 30 * time.Second
)

// eventually calls look until it returns nil, and returns its last error when that takes longer than
// the bound, when ctx ends, or at once when a program that it waits for has ended.
func eventually(ctx context.Context, bound time.Duration, look func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("gave up after %v", bound))
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		err := look(ctx)
		if err == nil || errors.Is(err, errEnded) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-ticker.C:
		}
	}
}

// answers waits until something accepts connections on the Unix socket, or the process has ended.
func answers(ctx context.Context, p *process, socket string) error {
	return eventually(ctx, startTime, p.alive(func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		return conn.Close()
	}))
}

// settled waits until the bridge serves and nothing that was asked of it is missing.
func settled(ctx context.Context, p *process, address string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return eventually(ctx, startTime, p.alive(func(ctx context.Context) error {
		state, err := readyz(ctx, client, address)
		switch {
		case err != nil:
			return fmt.Errorf("asking %s whether it is ready: %w", p, err)
		case !state.Ready || len(state.NotReady) > 0:
			return fmt.Errorf("%s is not ready: %s", p, state.text)
		}
		return nil
	}))
}

// readiness is what /readyz answers, as far as it matters here.
type readiness struct {
	// Ready says whether the bridge serves, NotReady lists the resources that are not as they should be.
	Ready    bool              `json:"ready"`
	NotReady []json.RawMessage `json:"not_ready"`

	// text is the whole answer, for people.
	text []byte
}

func readyz(ctx context.Context, client *http.Client, address string) (readiness, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", http.NoBody)
	if err != nil {
		return readiness{}, fmt.Errorf("making the request: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return readiness{}, fmt.Errorf("no answer: %w", err)
	}
	defer response.Body.Close()
	state := readiness{}
	if state.text, err = io.ReadAll(io.LimitReader(response.Body, 1<<20)); err != nil {
		return readiness{}, fmt.Errorf("half an answer: %w", err)
	}
	if err := json.Unmarshal(state.text, &state); err != nil {
		return readiness{}, fmt.Errorf("%s, and no JSON: %w", response.Status, err)
	}
	return state, nil
}
