// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/engine"
)

// Bounds of what a scrape costs the data plane.
const (
	countersKept    = time.Second     // how long counters are good for further scrapes
	countersTimeout = 3 * time.Second // how long a scrape waits for them
	// countedPathBdevs is how many bdevs remote controllers may have together for their paths to be
	// counted: that takes a call for each.
	countedPathBdevs = 64
)

// registerCollectors registers what /metrics shows of the engine.
func registerCollectors(registry prometheus.Registerer, s settings, eng *engine.Engine, lease *tenure, log *slog.Logger) error {
	if err := errors.Join(registry.Register(newStatusCollector(eng.Status)), registry.Register(durabilityCollector{lease})); err != nil || s.metricsLimit == 0 {
		return err
	}
	return registry.Register(newCounterCollector(eng, s.metricsLimit, log))
}

// counterCollector shows the I/O counters of volumes and paths as metrics. However often it is asked, the
// data plane is asked once a second at most.
type counterCollector struct {
	counters func(context.Context, engine.CounterLimits) (engine.Counters, error)
	limit    int
	log      *slog.Logger
	now      func() time.Time

	volume, path       []*prometheus.Desc // in the order of values
	state, left, fails *prometheus.Desc

	turn   chan struct{} // has a token while the data plane is asked
	mu     sync.Mutex
	last   engine.Counters // guarded by mu
	taken  time.Time       // guarded by mu: when last was asked for
	failed uint64          // guarded by mu: how often there was no answer
}

// newCounterCollector returns a collector that shows at most limit volumes and as many paths.
func newCounterCollector(eng *engine.Engine, limit int, log *slog.Logger) *counterCollector {
	c := &counterCollector{
		counters: eng.Counters, limit: limit, log: log, now: time.Now, turn: make(chan struct{}, 1),
		state: prometheus.NewDesc("opi_bridge_path_state", "1 for the state that a path is in.", []string{"path", "state"}, nil),
		left:  prometheus.NewDesc("opi_bridge_counters_left_out", "Volumes and paths that are not shown here, because there are too many.", nil, nil),
		fails: prometheus.NewDesc("opi_bridge_counters_failed_total", "Scrapes for which the data plane did not tell its counters.", nil, nil),
	}
	for _, what := range []struct{ name, help string }{
		{"read_bytes", "Bytes read"},
		{"read_ops", "Read operations"},
		{"write_bytes", "Bytes written"},
		{"write_ops", "Write operations"},
		{"unmap_bytes", "Bytes deallocated"},
		{"unmap_ops", "Deallocate operations"},
		{"read_seconds", "Time that reads took, summed"},
		{"write_seconds", "Time that writes took, summed"},
		{"unmap_seconds", "Time that deallocations took, summed"},
	} {
		c.volume = append(c.volume, prometheus.NewDesc("opi_bridge_volume_"+what.name+"_total", what.help+", by volume.", []string{"volume"}, nil))
		c.path = append(c.path, prometheus.NewDesc("opi_bridge_path_"+what.name+"_total", what.help+", by path to a storage node.", []string{"path"}, nil))
	}
	return c
}

// values returns counters in the order of the descriptions.
func values(s driver.IOStats) []float64 {
	seconds := func(ticks uint64) float64 {
		if s.TickRate == 0 {
			return 0
		}
		return float64(ticks) / float64(s.TickRate)
	}
	return []float64{
		float64(s.ReadBytes), float64(s.ReadOps), float64(s.WriteBytes), float64(s.WriteOps), float64(s.UnmapBytes), float64(s.UnmapOps),
		seconds(s.ReadLatencyTicks), seconds(s.WriteLatencyTicks), seconds(s.UnmapLatencyTicks),
	}
}

// Describe implements prometheus.Collector.
func (c *counterCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, all := range [][]*prometheus.Desc{c.volume, c.path, {c.state, c.left, c.fails}} {
		for _, d := range all {
			ch <- d
		}
	}
}

// Collect implements prometheus.Collector. Without an answer of the data plane it shows no counters.
func (c *counterCollector) Collect(ch chan<- prometheus.Metric) {
	counters, failed, ok := c.current()
	ch <- prometheus.MustNewConstMetric(c.fails, prometheus.CounterValue, float64(failed))
	if !ok {
		return
	}
	ch <- prometheus.MustNewConstMetric(c.left, prometheus.GaugeValue, float64(counters.LeftOut))
	for _, v := range counters.Volumes {
		for i, value := range values(v.Stats) {
			ch <- prometheus.MustNewConstMetric(c.volume[i], prometheus.CounterValue, value, string(v.Name))
		}
	}
	for _, p := range counters.Paths {
		ch <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, 1, string(p.Name), p.State)
		if !counters.PathsCounted || p.State == engine.PathAbsent {
			continue
		}
		for i, value := range values(p.Stats) {
			ch <- prometheus.MustNewConstMetric(c.path[i], prometheus.CounterValue, value, string(p.Name))
		}
	}
}

// current returns counters that are no older than countersKept, and how often there were none.
func (c *counterCollector) current() (counters engine.Counters, failed uint64, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), countersTimeout)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return engine.Counters{}, c.note(engine.Counters{}, ctx.Err()), false
	}
	c.mu.Lock()
	counters, fresh, failed := c.last, !c.taken.IsZero() && c.now().Sub(c.taken) < countersKept, c.failed
	c.mu.Unlock()
	if fresh {
		return counters, failed, true
	}
	counters, err := c.counters(ctx, engine.CounterLimits{Volumes: c.limit, Paths: c.limit, PathBdevs: countedPathBdevs})
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "no counters for metrics", slog.Any("err", err))
	}
	return counters, c.note(counters, err), err == nil
}

// note keeps what the data plane answered and returns how often it did not.
func (c *counterCollector) note(counters engine.Counters, err error) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failed++
	} else {
		c.last, c.taken = counters, c.now()
	}
	return c.failed
}
