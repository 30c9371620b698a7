// SPDX-License-Identifier: Apache-2.0

package vhost_test

import (
	"slices"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// gate is a device that keeps requests until it is opened, and remembers which writes it was given.
type gate struct {
	bdev.Device

	mu     sync.Mutex
	shut   bool
	kept   []*bdev.Request
	writes []uint64 // blocks
}

// gated registers a memory disk of 1 MiB behind a gate.
func (w *world) gated(name string) *gate {
	w.t.Helper()
	m, err := bdev.NewMalloc(bdev.MallocOptions{Name: name, BlockSizeBytes: 512, Blocks: 2048})
	must(w.t, err)
	g := &gate{Device: m, shut: true}
	spec := m.Spec()
	spec.Device = g
	_, err = w.registry.Register(spec)
	must(w.t, err)
	return g
}

// Submit implements bdev.Device.
func (g *gate) Submit(r *bdev.Request) {
	g.mu.Lock()
	if r.Op == bdev.OpWrite {
		g.writes = append(g.writes, r.Block)
	}
	shut := g.shut
	if shut {
		g.kept = append(g.kept, r)
	}
	g.mu.Unlock()
	if !shut {
		g.Device.Submit(r)
	}
}

// waiting is the number of requests that are kept.
func (g *gate) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.kept)
}

func (g *gate) written() []uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.writes)
}

// open lets everything through, the youngest first.
func (g *gate) open() {
	g.mu.Lock()
	kept := g.kept
	g.kept, g.shut = nil, false
	g.mu.Unlock()
	for _, r := range slices.Backward(kept) {
		g.Device.Submit(r)
	}
}
