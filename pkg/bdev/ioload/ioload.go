// SPDX-License-Identifier: Apache-2.0

// Package ioload puts load on a block device, measures it, and finds out whether every read returns
// what was written: writes that were lost, torn, misplaced or overtaken by older ones.
//
// A Load divides its part of the device into units of one I/O. Each unit is at rest or in one request,
// never in two, so what a read has to return is always known. A write that failed may or may not have
// happened: until the unit is written again both contents are right, block by block.
package ioload

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// Config says what load to make.
type Config struct {
	// Device is what to test; required. The load uses it until Run returns.
	Device bdev.Device
	// IOSizeBytes is the size of a request, a multiple of the block size. Default 4096, or a block.
	IOSizeBytes uint32
	// Depth is the number of requests in flight. Default 1.
	Depth int
	// FirstBlock and Blocks are the part of the device to use. Blocks 0 is up to its end. No more than
	// the first 4,194,304 units of the part are used: what is known about each takes memory.
	FirstBlock, Blocks uint64
	// WritePercent of the requests write, 0 to 100, the others read.
	WritePercent int
	// Sequential goes through the units in order, otherwise they are drawn.
	Sequential bool
	// Verify stamps what is written and checks what is read, as far as this Load has written it.
	Verify bool
	// Operations ends Run after so many requests, Duration after so long. At least one is needed.
	Operations uint64
	Duration   time.Duration
	// Seed makes the stamps, and what is drawn, repeatable.
	Seed uint64
	// StopOnError ends Run at the first request that fails.
	StopOnError bool
	// OnProgress, if set, is called on Run's goroutine after each request with the number so far.
	OnProgress func(done uint64)
}

// Result is what came of a Run.
type Result struct {
	// Reads and Writes are successful requests, Errors those that failed.
	Reads, Writes, Errors uint64
	// Bytes is what the successful ones moved.
	Bytes uint64
	// Elapsed is the time from the first request to the last answer.
	Elapsed time.Duration
	// Latency is that of successful requests.
	Latency Histogram
	// FirstError is the error of the first request that failed.
	FirstError error
	// Mismatched is the number of blocks that were not as they should be, Mismatches the first of them.
	Mismatched uint64
	Mismatches []Mismatch
}

// IOPS is the number of successful requests per second.
func (r *Result) IOPS() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Reads+r.Writes) / r.Elapsed.Seconds()
}

// mismatchesKept bounds Result.Mismatches.
const mismatchesKept = 16

// unitsMax bounds the units of a load.
const unitsMax = 1 << 22

// unit is one I/O's worth of the device.
type unit struct {
	// low and high are the generations its blocks may have; 0 is unknown content.
	low, high uint64
	busy      bool
}

// Load remembers what it has written, over several Runs and, with SetDevice, over several devices
// that are the same disk. It is not safe for concurrent use.
type Load struct {
	cfg        Config
	block      uint64 // bytes
	perUnit    uint64 // blocks
	units      []unit
	generation uint64
	rng        *rand.Rand
	next       uint64 // sequential
}

// New checks the configuration and returns a Load that has written nothing.
func New(cfg Config) (*Load, error) {
	if cfg.Device == nil {
		return nil, errors.New("a load needs a device")
	}
	g := cfg.Device.Geometry()
	if cfg.IOSizeBytes == 0 {
		cfg.IOSizeBytes = max(4096, g.BlockSizeBytes)
	}
	if cfg.Depth == 0 {
		cfg.Depth = 1
	}
	if cfg.Blocks == 0 && cfg.FirstBlock < g.Blocks {
		cfg.Blocks = g.Blocks - cfg.FirstBlock
	}
	perUnit := uint64(cfg.IOSizeBytes / g.BlockSizeBytes)
	switch {
	case cfg.IOSizeBytes%g.BlockSizeBytes != 0:
		return nil, fmt.Errorf("an I/O of %d bytes is not a number of blocks of %d", cfg.IOSizeBytes, g.BlockSizeBytes)
	case cfg.Depth < 0 || cfg.Depth > 65536:
		return nil, fmt.Errorf("depth %d is not in 1 to 65536", cfg.Depth)
	case cfg.WritePercent < 0 || cfg.WritePercent > 100:
		return nil, fmt.Errorf("%d percent writes is not in 0 to 100", cfg.WritePercent)
	case cfg.FirstBlock > g.Blocks || cfg.Blocks > g.Blocks-cfg.FirstBlock:
		return nil, fmt.Errorf("%d blocks from %d on are not within the %d of the device", cfg.Blocks, cfg.FirstBlock, g.Blocks)
	case cfg.Blocks/perUnit < uint64(cfg.Depth):
		return nil, fmt.Errorf("%d blocks are too few for %d requests of %d blocks at a time", cfg.Blocks, cfg.Depth, perUnit)
	case cfg.Operations == 0 && cfg.Duration <= 0:
		return nil, errors.New("a load needs a number of operations or a duration")
	}
	return &Load{
		cfg: cfg, block: uint64(g.BlockSizeBytes), perUnit: perUnit,
		units: make([]unit, min(cfg.Blocks/perUnit, unitsMax)),
		rng:   rand.New(rand.NewPCG(cfg.Seed, 0)), //nolint:gosec // test data
	}, nil
}

// SetDevice goes on with another device on which the same data is to be found.
func (l *Load) SetDevice(d bdev.Device) error {
	if g := d.Geometry(); uint64(g.BlockSizeBytes) != l.block || l.cfg.FirstBlock+l.cfg.Blocks > g.Blocks {
		return fmt.Errorf("a device of %d blocks of %d bytes is not the one that was written", g.Blocks, g.BlockSizeBytes)
	}
	l.cfg.Device = d
	return nil
}

// Assume says that all units were written by a Fill with the same seed in another process.
func (l *Load) Assume() {
	l.generation = max(l.generation, 1)
	for i := range l.units {
		l.units[i] = unit{low: 1, high: 1}
	}
}
