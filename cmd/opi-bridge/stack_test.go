// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Parts end in the opposite order of their start, each after the one that uses it.
func TestPartsEndInReverse(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var order []string // each part writes after the one before has ended, so no lock is needed
	started := make(chan struct{}, 3)
	waiting := func(name string) part {
		return part{name, func(ctx context.Context) error {
			started <- struct{}{}
			<-ctx.Done()
			order = append(order, name)
			return nil
		}}
	}
	go func() {
		for range 3 {
			<-started
		}
		cancel()
	}()
	err := runParts(ctx, slog.New(slog.DiscardHandler), []part{waiting("driver"), waiting("engine"), waiting("server")})
	if err != nil || !slices.Equal(order, []string{"server", "engine", "driver"}) {
		t.Errorf("%v, %v", order, err)
	}
}

// When one part fails all others end, and its error is the program's.
func TestOnePartEndsAll(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	waiting := part{"driver", func(ctx context.Context) error { <-ctx.Done(); return nil }}
	err := runParts(t.Context(), slog.New(slog.DiscardHandler), []part{waiting, {"lease", func(context.Context) error { return broken }}, waiting})
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "lease: ") {
		t.Errorf("%v", err)
	}
	err = runParts(t.Context(), slog.New(slog.DiscardHandler), []part{waiting, {"engine", func(context.Context) error { return nil }}})
	if err == nil || !strings.Contains(err.Error(), "engine ended by itself") {
		t.Errorf("%v", err)
	}
}
