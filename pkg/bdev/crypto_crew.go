// SPDX-License-Identifier: Apache-2.0

package bdev

import (
	"runtime"
	"sync"
)

// cryptoCrew are the workers of one crypto bdev: at most as many as there are cores, begun when there
// is work, so that what is large holds up neither those who submit it nor other bdevs. Work is done
// piece by piece in the order in which it comes, so a large request does not hold up others either.
type cryptoCrew struct {
	mu sync.Mutex
	// come tells idle workers of work or of the end.
	come *sync.Cond
	// head and tail are the queue; guarded by mu.
	head, tail *cryptoIO
	// workers is their number, idle how many of them wait; guarded by mu.
	workers, idle int
	// closed ends the workers; guarded by mu.
	closed bool
	wg     sync.WaitGroup
}

func (c *cryptoCrew) init() { c.come = sync.NewCond(&c.mu) }

// put adds work.
func (c *cryptoCrew) put(io *cryptoIO) {
	c.mu.Lock()
	io.next = nil
	if c.tail == nil {
		c.head = io
	} else {
		c.tail.next = io
	}
	c.tail = io
	switch {
	case c.idle > 0:
		c.come.Signal()
	case c.workers < runtime.GOMAXPROCS(0):
		c.workers++
		c.wg.Add(1)
		go c.run()
	}
	c.mu.Unlock()
}

// run is one worker.
func (c *cryptoCrew) run() {
	defer c.wg.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for c.head == nil && !c.closed {
			c.idle++
			c.come.Wait()
			c.idle--
		}
		if c.head == nil {
			return
		}
		io := c.head
		c.head = io.next
		if c.head == nil {
			c.tail = nil
		}
		io.next = nil
		c.mu.Unlock()
		io.work()
		c.mu.Lock()
	}
}

// close ends the workers. No work is left, and none comes.
func (c *cryptoCrew) close() {
	c.mu.Lock()
	c.closed = true
	c.come.Broadcast()
	c.mu.Unlock()
	c.wg.Wait()
}
