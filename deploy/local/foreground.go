// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// foreground is `make run`: it starts both nodes, asks them for the disk, says what runs where, and
// keeps all programs running until ctx ends. Then it stops them in the opposite order.
func foreground(ctx context.Context, l layout, out io.Writer) (err error) {
	if err := l.check(ctx); err != nil {
		return err
	}
	out = &lineWriter{out: out}
	fmt.Fprintf(out, "Starting a storage node and a DPU on %s; their state is in %s\n", loopback, short(l.dir))
	storage, err := startNode(ctx, l.bin, l.storage)
	if err != nil {
		return err
	}
	watch := &keeper{out: out}
	defer func() {
		if ctx.Err() != nil {
			err = nil // whatever was cut short was cut short by Ctrl-C
		}
		err = errors.Join(err, watch.stop())
	}()
	watch.keep(ctx, storage.dataplane)
	watch.keep(ctx, storage.bridge)
	if err := provisionStorage(ctx, l.storage); err != nil {
		return err
	}
	dpu, err := startNode(ctx, l.bin, l.dpu)
	if err != nil {
		return err
	}
	watch.keep(ctx, dpu.dataplane)
	watch.keep(ctx, dpu.bridge)
	if err := provisionDPU(ctx, l.dpu, l.storage); err != nil {
		return err
	}
	id, err := hostDisk(l).identify(ctx)
	if err != nil {
		return err
	}
	describe(out, l, storage, dpu, id)
	<-ctx.Done()
	fmt.Fprintln(out)
	return nil
}

// restartPause is how long a program that died stays down: long enough to be seen.
const restartPause = time.Second

// keeper keeps programs running. Its methods are called by one goroutine.
type keeper struct {
	// out is told of every death.
	out io.Writer
	// kept are the programs in the order of their start.
	kept []*kept
}

// kept is one program that is started again when it dies.
type kept struct {
	stopping chan struct{}
	stopped  chan error
	name     string
}

// keep watches the process and starts it again when it dies, until stop.
func (k *keeper) keep(ctx context.Context, p *process) {
	entry := &kept{stopping: make(chan struct{}), stopped: make(chan error, 1), name: p.String()}
	k.kept = append(k.kept, entry)
	go func() { entry.stopped <- k.watch(ctx, entry, p) }()
}

func (k *keeper) watch(ctx context.Context, entry *kept, p *process) error {
	for {
		select {
		case <-entry.stopping:
			return p.stop()
		case <-p.done:
		}
		fmt.Fprintf(k.out, "%s died (%v), it starts again in %v; log: %s\n", p, p.err, restartPause, short(p.log))
		timer := time.NewTimer(restartPause)
		select {
		case <-entry.stopping:
			timer.Stop()
			return nil
		case <-timer.C:
		}
		again, err := start(ctx, p.command)
		if err != nil {
			fmt.Fprintf(k.out, "%v\n", err)
			continue
		}
		fmt.Fprintf(k.out, "%s runs again, pid %d\n", again, again.pid())
		p = again
	}
}

// stop ends all programs, the last started first.
func (k *keeper) stop() error {
	var errs []error
	for _, entry := range slices.Backward(k.kept) {
		close(entry.stopping)
		err := <-entry.stopped
		if err == nil {
			fmt.Fprintf(k.out, "stopped %s\n", entry.name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// lineWriter keeps lines that several goroutines write apart: each Write goes out whole.
type lineWriter struct {
	mu  sync.Mutex // held over a Write to out
	out io.Writer
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}
