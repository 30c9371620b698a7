// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/prometheus/client_golang/prometheus"

// durabilityCollector shows what the store says of its durability as a metric, once it was asked.
type durabilityCollector struct{ lease *tenure }

func (durabilityCollector) desc() *prometheus.Desc {
	return prometheus.NewDesc("opi_bridge_store_durable",
		"1 when the store loses nothing that was acknowledged, 0 when it may.", nil, nil)
}

// Describe implements prometheus.Collector.
func (c durabilityCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc() }

// Collect implements prometheus.Collector.
func (c durabilityCollector) Collect(ch chan<- prometheus.Metric) {
	if d, _ := c.lease.state(); d.Level != "" {
		ch <- prometheus.MustNewConstMetric(c.desc(), prometheus.GaugeValue, number(d.OK))
	}
}
