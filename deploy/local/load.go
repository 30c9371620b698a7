// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// load is a host that reads and writes the disk, and checks every block, until it is ended.
type load struct {
	*process
}

const (
	// loadBytes is the part of the disk that the load uses, behind what [disk.write] has written.
	loadBytes = 16 << 20
	// filling is how many requests of 4 KiB the load needs to write all of it for the first time.
	filling = loadBytes / 4096
	// enough is how many requests show that I/O goes on.
	enough = 5000
)

// startLoad starts a load, with its output in dir, and waits until it is under way.
func (d disk) startLoad(ctx context.Context, dir string) (*load, error) {
	c := command{
		node: "host", program: "opi-dataplane", path: d.program, log: filepath.Join(dir, "load.log"),
		args: append([]string{
			"io", "verify", "--offset", strconv.Itoa(checkedBytes), "--length", strconv.Itoa(loadBytes),
			"--duration", (2 * demoTime).String(), "--progress", lookEvery.String(),
		}, d.flags()...),
	}
	p, err := start(ctx, c)
	if err != nil {
		return nil, err
	}
	l := &load{p}
	return l, l.reaches(ctx, filling+enough)
}

// goesOn does something while the load runs, and waits until I/O was done after it.
func (l *load) goesOn(ctx context.Context, do func() error) (string, error) {
	before, err := l.done()
	if err != nil {
		return "", err
	}
	if err := do(); err != nil {
		return "", err
	}
	middle, err := l.done()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d requests meanwhile", middle+enough-before), l.reaches(ctx, middle+enough)
}

// reaches waits until so many requests are done.
func (l *load) reaches(ctx context.Context, requests uint64) error {
	return eventually(ctx, startTime, l.alive(func(context.Context) error {
		done, err := l.done()
		if err == nil && done < requests {
			err = fmt.Errorf("the I/O stands at %d requests", done)
		}
		return err
	}))
}

// done returns the number of requests so far.
func (l *load) done() (uint64, error) {
	text, err := os.ReadFile(l.log)
	if err != nil {
		return 0, fmt.Errorf("looking how far the I/O is: %w", err)
	}
	var done uint64
	for line := range bytes.Lines(text) {
		var progress struct {
			Event string
			Done  uint64
		}
		// Lines that are no JSON are the host's own log; the last line may be half written.
		if json.Unmarshal(line, &progress) == nil && progress.Event == "progress" {
			done = progress.Done
		}
	}
	return done, nil
}

// end ends the load and judges all that it did.
func (l *load) end() (string, error) {
	if err := l.stop(); err != nil {
		return "", err
	}
	text, err := os.ReadFile(l.log)
	if err != nil {
		return "", fmt.Errorf("reading what the I/O came to: %w", err)
	}
	result, err := lastResult(text)
	if err == nil && l.err != nil {
		err = fmt.Errorf("the I/O: %w", l.err)
	}
	return result.String(), err
}
