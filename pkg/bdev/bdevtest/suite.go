// SPDX-License-Identifier: Apache-2.0

// Package bdevtest is the conformance suite of bdev.Device. Every kind of device runs it, alone,
// through wrappers and across the wire.
package bdevtest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
)

// Config says what to test.
type Config struct {
	// Open returns a new device of at least 64 blocks; required. What it needs to end, it puts into
	// t.Cleanup; the suite closes nothing.
	Open func(t *testing.T) bdev.Device
	// Forgets says that the device keeps nothing and reads as zeroes.
	Forgets bool
	// Scrambles says that blocks read as anything after they have been unmapped.
	Scrambles bool
	// Resize makes the device larger by the number of blocks, as its owner would; nil if it cannot grow.
	Resize func(t *testing.T, d bdev.Device, blocks uint64)
	// Reopen returns a device on the same blocks after the one given has been flushed and closed; nil
	// if they do not outlive it.
	Reopen func(t *testing.T, d bdev.Device) bdev.Device
}

// Run runs the suite.
func Run(t *testing.T, c Config) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Config){
		"ReadBack": readBack, "Neighbours": neighbours, "Zeroes": zeroes, "Unmap": unmap, "Compare": compare,
		"Flush": flush, "Edges": edges, "Concurrent": concurrent, "Resize": resize, "Reopen": reopen,
		"UnknownOp": unknownOp, "Large": large,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

// Do submits one request and waits for it.
func Do(t testing.TB, d bdev.Device, op bdev.Op, block, count uint64, data []byte) error {
	t.Helper()
	done := make(chan error, 1)
	d.Submit(&bdev.Request{
		Op: op, Block: block, Count: count, Data: data,
		Done: func(_ *bdev.Request, err error) { done <- err },
	})
	select {
	case err := <-done:
		return err
	case <-time.After(30 * time.Second):
		t.Fatalf("operation %d at block %d did not end", op, block)
		return nil
	}
}

// must submits one request that must succeed.
func must(t testing.TB, d bdev.Device, op bdev.Op, block, count uint64, data []byte) {
	t.Helper()
	if err := Do(t, d, op, block, count, data); err != nil {
		t.Fatalf("operation %d at block %d, %d blocks: %v", op, block, count, err)
	}
}

// read returns the blocks.
func read(t testing.TB, d bdev.Device, block, count uint64) []byte {
	t.Helper()
	data := bytes.Repeat([]byte{0xee}, int(count)*int(d.Geometry().BlockSizeBytes))
	must(t, d, bdev.OpRead, block, count, data)
	return data
}

// random returns blocks of random content.
func random(rng *rand.Rand, d bdev.Device, count int) []byte {
	data := make([]byte, count*int(d.Geometry().BlockSizeBytes))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

// seeded returns a source of random numbers and logs its seed.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// equal compares what was read with what was written, or with zeroes if the device forgets.
func equal(t *testing.T, c Config, what string, got, want []byte) {
	t.Helper()
	if c.Forgets {
		want = make([]byte, len(want))
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the blocks read are not those written", what)
	}
}

func readBack(t *testing.T, c Config) {
	d, rng := c.Open(t), seeded(t)
	for range 50 {
		count := 1 + rng.Uint64N(16)
		block := rng.Uint64N(64 - count + 1)
		data := random(rng, d, int(count))
		must(t, d, bdev.OpWrite, block, count, data)
		equal(t, c, "read back", read(t, d, block, count), data)
	}
}

func neighbours(t *testing.T, c Config) {
	d, rng := c.Open(t), seeded(t)
	all := random(rng, d, 64)
	must(t, d, bdev.OpWrite, 0, 64, all)
	one := random(rng, d, 1)
	must(t, d, bdev.OpWrite, 31, 1, one)
	size := int(d.Geometry().BlockSizeBytes)
	copy(all[31*size:], one)
	equal(t, c, "all blocks after one was written", read(t, d, 0, 64), all)
}

func zeroes(t *testing.T, c Config) {
	d, rng := c.Open(t), seeded(t)
	all := random(rng, d, 64)
	must(t, d, bdev.OpWrite, 0, 64, all)
	must(t, d, bdev.OpWriteZeroes, 3, 50, nil)
	size := int(d.Geometry().BlockSizeBytes)
	clear(all[3*size : 53*size])
	equal(t, c, "after zeroes", read(t, d, 0, 64), all)
}

func unmap(t *testing.T, c Config) {
	d, rng := c.Open(t), seeded(t)
	all := random(rng, d, 64)
	must(t, d, bdev.OpWrite, 0, 64, all)
	must(t, d, bdev.OpUnmap, 5, 40, nil)
	size := int(d.Geometry().BlockSizeBytes)
	got := read(t, d, 0, 64)
	equal(t, c, "blocks before the hole", got[:5*size], all[:5*size])
	equal(t, c, "blocks after the hole", got[45*size:], all[45*size:])
	zero := make([]byte, size)
	for i := 5; i < 45; i++ {
		if b := got[i*size : (i+1)*size]; !c.Scrambles && !bytes.Equal(b, zero) && !bytes.Equal(b, all[i*size:(i+1)*size]) {
			t.Errorf("block %d is neither as before nor zero after unmap", i)
		}
	}
}

func compare(t *testing.T, c Config) {
	d, rng := c.Open(t), seeded(t)
	data := random(rng, d, 8)
	must(t, d, bdev.OpWrite, 8, 8, data)
	same := bytes.Clone(data)
	if c.Forgets {
		clear(same)
	}
	must(t, d, bdev.OpCompare, 8, 8, same)
	same[len(same)-1] ^= 1
	if err := Do(t, d, bdev.OpCompare, 8, 8, same); !errors.Is(err, bdev.ErrCompare) {
		t.Errorf("compare with other data: %v, want %v", err, bdev.ErrCompare)
	}
	equal(t, c, "after compare", read(t, d, 8, 8), data)
}

func flush(t *testing.T, c Config) {
	d, rng := c.Open(t), seeded(t)
	must(t, d, bdev.OpFlush, 0, 0, nil)
	must(t, d, bdev.OpWrite, 0, 1, random(rng, d, 1))
	must(t, d, bdev.OpFlush, 0, 0, nil)
}

func edges(t *testing.T, c Config) {
	d, rng := c.Open(t), seeded(t)
	last := d.Geometry().Blocks - 1
	data := random(rng, d, 1)
	must(t, d, bdev.OpWrite, last, 1, data)
	equal(t, c, "last block", read(t, d, last, 1), data)
	must(t, d, bdev.OpWriteZeroes, last, 1, nil)
	must(t, d, bdev.OpUnmap, 0, last+1, nil)
}

// concurrent has several writers on their own blocks and readers on all, with requests used again
// from their Done.
func concurrent(t *testing.T, c Config) {
	const writers, rounds = 8, 40
	d := c.Open(t)
	size := int(d.Geometry().BlockSizeBytes)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			data, got := make([]byte, 8*size), make([]byte, 8*size)
			for round := range rounds {
				for i := range data {
					data[i] = byte(w*rounds + round + i)
				}
				if err := Do(t, d, bdev.OpWrite, uint64(w)*8, 8, data); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				if err := Do(t, d, bdev.OpRead, uint64(w)*8, 8, got); err != nil {
					t.Errorf("reader %d: %v", w, err)
					return
				}
				equal(t, c, "own blocks among others'", got, data)
			}
		})
	}
	wg.Wait()
	chained(t, d, size)
}

// chained submits the next request of each chain in the Done of the one before.
func chained(t *testing.T, d bdev.Device, size int) {
	const chains, length = 16, 100
	var wg sync.WaitGroup
	for chain := range chains {
		wg.Add(1)
		left := length
		r := &bdev.Request{Op: bdev.OpRead, Block: uint64(chain), Count: 1, Data: make([]byte, size)}
		next := make(chan struct{}, 1)
		r.Done = func(_ *bdev.Request, err error) {
			if err != nil {
				t.Errorf("chained read: %v", err)
				left = 1
			}
			next <- struct{}{}
		}
		go func() {
			defer wg.Done()
			for ; left > 0; left-- {
				d.Submit(r)
				<-next
			}
		}()
	}
	wg.Wait()
}

func resize(t *testing.T, c Config) {
	if c.Resize == nil {
		return
	}
	d, rng := c.Open(t), seeded(t)
	data := random(rng, d, 1)
	must(t, d, bdev.OpWrite, 7, 1, data)
	before := d.Geometry()
	c.Resize(t, d, 64)
	after := d.Geometry()
	if after.Blocks != before.Blocks+64 || after.BlockSizeBytes != before.BlockSizeBytes {
		t.Fatalf("geometry %+v after growing %+v by 64", after, before)
	}
	equal(t, c, "old block after growing", read(t, d, 7, 1), data)
	must(t, d, bdev.OpWrite, after.Blocks-1, 1, data)
	equal(t, c, "new last block", read(t, d, after.Blocks-1, 1), data)
}

func reopen(t *testing.T, c Config) {
	if c.Reopen == nil {
		return
	}
	d, rng := c.Open(t), seeded(t)
	data := random(rng, d, 64)
	must(t, d, bdev.OpWrite, 0, 64, data)
	must(t, d, bdev.OpFlush, 0, 0, nil)
	d = c.Reopen(t, d)
	equal(t, c, "after opening it again", read(t, d, 0, 64), data)
}

func unknownOp(t *testing.T, c Config) {
	if err := Do(t, c.Open(t), bdev.Op(99), 0, 0, nil); !errors.Is(err, bdev.ErrOp) {
		t.Errorf("unknown operation: %v, want %v", err, bdev.ErrOp)
	}
}

// large moves more than one wire transfer or buffer takes, as far as the device has it.
func large(t *testing.T, c Config) {
	d, rng := c.Open(t), seeded(t)
	g := d.Geometry()
	count := min(g.Blocks, (1<<20)/uint64(g.BlockSizeBytes))
	data := random(rng, d, int(count))
	must(t, d, bdev.OpWrite, 0, count, data)
	equal(t, c, "large range", read(t, d, 0, count), data)
	must(t, d, bdev.OpWriteZeroes, 0, count, nil)
	equal(t, c, "large range of zeroes", read(t, d, 0, count), make([]byte, len(data)))
}
