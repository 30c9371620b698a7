// SPDX-License-Identifier: Apache-2.0

package bdev

import "sync"

// OpStats counts the successful requests of one kind since the last reset.
type OpStats struct {
	// Ops is their number, Bytes the bytes of the blocks they covered.
	Ops, Bytes uint64
	// LatencyTicks is the sum of their latencies, MaxTicks and MinTicks the longest and the shortest,
	// all in ticks (see TickRate), and 0 if there were none.
	LatencyTicks, MaxTicks, MinTicks uint64
}

// Stats is what the users of a bdev have done with it. Counters are of 64 bits.
type Stats struct {
	Read, Write, Unmap OpStats
	// Failed is the number of requests that ended with an error, compares that differed apart.
	Failed uint64
	// Miscompared is the number of compares that found a difference.
	Miscompared uint64
}

// ResetMode says which statistics start anew.
type ResetMode uint8

// The modes, as bdev_reset_iostat has them.
const (
	// ResetNone resets nothing.
	ResetNone ResetMode = iota
	// ResetAll resets everything.
	ResetAll
	// ResetMaxMin resets the longest and shortest latencies.
	ResetMaxMin
	// ResetErrors resets the number of failures. SPDK keeps that mode for modules which count more.
	ResetErrors
)

// stats adds up the counters of all users of a bdev.
type stats struct {
	relays sync.Pool // of *relay

	mu sync.Mutex
	// live are the counters in use; guarded by mu.
	live map[*shards]struct{}
	// past is what closed users counted; guarded by mu.
	past Stats
	// base is what had been counted at the last reset, extremes aside; guarded by mu.
	base Stats
}

// open makes counters for a new user.
func (s *stats) open(blockSize uint32) *shards {
	sh := newShards(blockSize)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.live = make(map[*shards]struct{})
	}
	s.live[sh] = struct{}{}
	return sh
}

// fold keeps what the counters say and forgets them.
func (s *stats) fold(sh *shards) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.live[sh]; ok {
		delete(s.live, sh)
		s.past.addShards(sh)
	}
}

// snapshot returns the statistics since the last reset and then resets them as told.
func (s *stats) snapshot(mode ResetMode) Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := s.past
	for sh := range s.live {
		total.addShards(sh)
	}
	out := total
	out.Read.since(&s.base.Read)
	out.Write.since(&s.base.Write)
	out.Unmap.since(&s.base.Unmap)
	out.Failed -= s.base.Failed
	out.Miscompared -= s.base.Miscompared
	switch mode {
	case ResetNone:
	case ResetAll:
		s.base = total
		s.resetExtremes()
	case ResetMaxMin:
		s.resetExtremes()
	case ResetErrors:
		s.base.Failed, s.base.Miscompared = total.Failed, total.Miscompared
	}
	return out
}

// resetExtremes forgets the longest and shortest latencies; the caller holds mu.
func (s *stats) resetExtremes() {
	for _, o := range []*OpStats{&s.past.Read, &s.past.Write, &s.past.Unmap} {
		o.MaxTicks, o.MinTicks = 0, 0
	}
	for sh := range s.live {
		for i := range sh.set {
			c := &sh.set[i]
			for _, o := range []*opCounter{&c.read, &c.write, &c.unmap} {
				o.maxTicks.Store(0)
				o.minTicks.Store(0)
			}
		}
	}
}

func (t *Stats) addShards(sh *shards) {
	for i := range sh.set {
		c := &sh.set[i]
		t.Read.addCounter(&c.read)
		t.Write.addCounter(&c.write)
		t.Unmap.addCounter(&c.unmap)
		t.Failed += c.failed.Load()
		t.Miscompared += c.miscompared.Load()
	}
}

func (o *OpStats) addCounter(c *opCounter) {
	o.Ops += c.ops.Load()
	o.Bytes += c.bytes.Load()
	o.LatencyTicks += c.ticks.Load()
	o.MaxTicks = max(o.MaxTicks, c.maxTicks.Load())
	if v := c.minTicks.Load(); v != 0 && (o.MinTicks == 0 || ^v < o.MinTicks) {
		o.MinTicks = ^v
	}
}

func (o *OpStats) since(base *OpStats) {
	o.Ops -= base.Ops
	o.Bytes -= base.Bytes
	o.LatencyTicks -= base.LatencyTicks
}

// Stats returns the statistics of the bdev with that name, alias or uuid since their last reset, and
// then resets what mode says. An unknown bdev is NotFound (ENODEV).
func (r *Registry) Stats(name string, mode ResetMode) (Stats, error) {
	r.mu.Lock()
	e := r.lookup(name)
	r.mu.Unlock()
	if e == nil {
		return Stats{}, errNotFound(name)
	}
	return e.stats.snapshot(mode), nil
}
