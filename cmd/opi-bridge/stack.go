// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// part is something that runs as long as the program does.
type part struct {
	name string
	run  func(context.Context) error
}

// runParts starts the parts in their order and, when ctx ends or one of them does, ends them in the
// opposite order, each after all that were started later have ended: what uses another ends first. A
// part that ends by itself is an error, with or without one of its own.
func runParts(ctx context.Context, log *slog.Logger, parts []part) error {
	type running struct {
		stop context.CancelFunc
		done chan error
	}
	all := make([]running, 0, len(parts))
	ended := make(chan string, len(parts))
	for _, p := range parts {
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		r := running{stop: stop, done: make(chan error, 1)}
		all = append(all, r)
		go func() {
			err := p.run(own)
			if err != nil {
				err = fmt.Errorf("%s: %w", p.name, err)
			} else if own.Err() == nil {
				err = fmt.Errorf("%s ended by itself", p.name)
			}
			r.done <- err
			ended <- p.name
		}()
	}
	select {
	case <-ctx.Done():
		log.LogAttrs(ctx, slog.LevelInfo, "ending", slog.String("cause", "signal"))
	case name := <-ended:
		log.LogAttrs(ctx, slog.LevelError, "ending", slog.String("cause", name))
	}
	var errs []error
	for _, r := range slices.Backward(all) {
		r.stop()
		errs = append(errs, <-r.done)
	}
	return errors.Join(errs...)
}
