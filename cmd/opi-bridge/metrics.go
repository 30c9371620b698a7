// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/opi-bridge/opi-bridge/pkg/engine"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// callBuckets fit calls to the data plane and the store, in seconds.
func callBuckets() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
}

// calls returns a function that notes a call which has ended, in a histogram by what was called and
// the class of the error ("" without one).
func calls(registry prometheus.Registerer, name, help, label string) (func(what string, took time.Duration, err error), error) {
	histogram := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: callBuckets()}, []string{label, "error"})
	if err := registry.Register(histogram); err != nil {
		return nil, err
	}
	return func(what string, took time.Duration, err error) {
		histogram.WithLabelValues(what, string(errdefs.ClassOf(err))).Observe(took.Seconds())
	}, nil
}

// statusCollector shows the engine's status as metrics, read at each scrape.
type statusCollector struct {
	status                                                   func() engine.Status
	now                                                      func() time.Time
	up, settled, resources, notReady, lag, repaired, foreign *prometheus.Desc
}

func newStatusCollector(status func() engine.Status) *statusCollector {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("opi_bridge_"+name, help, labels, nil)
	}
	return &statusCollector{
		status:    status,
		now:       time.Now,
		up:        describe("data_plane_up", "1 while there is a connection to the data plane."),
		settled:   describe("data_plane_settled", "1 when the data plane has been given back everything since it was last connected."),
		resources: describe("resources", "Resources by state.", "state"),
		notReady:  describe("resources_not_ready", "Resources that are not in the data plane as they should be."),
		lag:       describe("reconcile_lag_seconds", "For how long some resource has not been in the data plane as it should be; 0 when all are."),
		repaired:  describe("drift_repaired_total", "Objects that were changed behind the bridge's back and repaired, by type.", "type"),
		foreign:   describe("foreign_objects", "Objects that others have put into, or onto, what the bridge made, by type. They are left alone.", "type"),
	}
}

// Describe implements prometheus.Collector.
func (c *statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.settled, c.resources, c.notReady, c.lag, c.repaired, c.foreign} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *statusCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.up, number(s.DataPlane.Up))
	gauge(c.settled, number(s.Settled))
	gauge(c.notReady, float64(s.NotReadyCount))
	behind := 0.0
	if !s.Behind.IsZero() {
		behind = max(0, c.now().Sub(s.Behind).Seconds())
	}
	gauge(c.lag, behind)
	for state, n := range s.Resources {
		gauge(c.resources, float64(n), string(state))
	}
	for objects, n := range s.Foreign {
		gauge(c.foreign, float64(n), string(objects))
	}
	for objects, n := range s.Drift {
		ch <- prometheus.MustNewConstMetric(c.repaired, prometheus.CounterValue, float64(n), string(objects))
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
