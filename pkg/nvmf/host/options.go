// SPDX-License-Identifier: Apache-2.0

package host

import (
	"time"
)

// Policy says how I/O is spread over the paths of a namespace.
type Policy string

// Selector says how an active-active policy chooses among the paths.
type Selector string

// Policies and selectors, by SPDK's names.
const (
	ActivePassive Policy   = "active_passive"
	ActiveActive  Policy   = "active_active"
	RoundRobin    Selector = "round_robin"
	QueueDepth    Selector = "queue_depth"
)

// Multipath is a policy with its details. The zero value stands for the default of the Options.
type Multipath struct {
	// Policy is ActivePassive or ActiveActive.
	Policy Policy
	// Selector belongs to ActiveActive; "" is RoundRobin.
	Selector Selector
	// MinIO is the number of requests for one path before RoundRobin takes the next one; at least 1.
	// SPDK's "not given" is MinIOUnset.
	MinIO uint32
}

// MinIOUnset stands for a MinIO that nobody gave; it means 1 to RoundRobin.
const MinIOUnset = ^uint32(0)

// validate checks a complete policy.
func (m Multipath) validate() error {
	switch {
	case m.Policy != ActivePassive && m.Policy != ActiveActive:
		return invalid("multipath policy %q: it must be %s or %s", m.Policy, ActivePassive, ActiveActive)
	case m.Policy == ActivePassive && m.Selector != "":
		return invalid("multipath selector %q is of no use with policy %s", m.Selector, m.Policy)
	case m.Selector != "" && m.Selector != RoundRobin && m.Selector != QueueDepth:
		return invalid("multipath selector %q: it must be %s or %s", m.Selector, RoundRobin, QueueDepth)
	case m.MinIO == 0:
		return invalid("min_io is 0: it must be at least 1")
	case m.MinIO != MinIOUnset && (m.Policy != ActiveActive || m.Selector == QueueDepth):
		return invalid("min_io is of use with selector %s only", RoundRobin)
	}
	return nil
}

// Recovery says what happens while a path is away. Units are seconds.
type Recovery struct {
	// LossTimeoutSec is how long reconnecting goes on before the path is removed: 0 and -1 for ever.
	LossTimeoutSec int32
	// ReconnectDelaySec is the pause between attempts. With 0 they follow each other at once, and
	// I/O does not wait for them.
	ReconnectDelaySec uint32
	// FastIOFailSec is how long I/O waits for a path that reconnects, 0 for as long as it does.
	FastIOFailSec uint32
}

// validate holds the rule that SPDK has for the three.
func (r Recovery) validate() error {
	loss, delay, fast := int64(r.LossTimeoutSec), int64(r.ReconnectDelaySec), int64(r.FastIOFailSec)
	switch {
	case loss < -1:
		return invalid("ctrlr_loss_timeout_sec is %d: it must be -1 or more", loss)
	case loss == 0 && (delay != 0 || fast != 0):
		return invalid("reconnect_delay_sec and fast_io_fail_timeout_sec must be 0 as ctrlr_loss_timeout_sec is")
	case loss == 0:
		return nil
	case delay == 0:
		return invalid("reconnect_delay_sec must not be 0 as ctrlr_loss_timeout_sec is %d", loss)
	case loss > 0 && delay > loss:
		return invalid("reconnect_delay_sec %d is more than ctrlr_loss_timeout_sec %d", delay, loss)
	case fast != 0 && fast < delay:
		return invalid("fast_io_fail_timeout_sec %d is less than reconnect_delay_sec %d", fast, delay)
	case loss > 0 && fast > loss:
		return invalid("fast_io_fail_timeout_sec %d is more than ctrlr_loss_timeout_sec %d", fast, loss)
	}
	return nil
}

// Options are the settings of all controllers (bdev_nvme_set_options).
type Options struct {
	// KeepAliveTimeout is the keep alive timeout, 0 for none; whole milliseconds.
	KeepAliveTimeout time.Duration
	// BdevRetryCount is how often a request that a controller refused is repeated, -1 for ever.
	// Moves to another path do not count.
	BdevRetryCount int32
	// Recovery is the default of attached controllers.
	Recovery Recovery
	// ConnectTimeout bounds the TCP connect, 0 leaves it to the system.
	ConnectTimeout time.Duration
	// AckTimeout ends a connection whose peer has acknowledged nothing for so long while there was
	// something to acknowledge, 0 leaves it to the system; whole milliseconds.
	AckTimeout time.Duration
	// IOPathStat counts I/O for each path.
	IOPathStat bool
	// DisableAutoFailback keeps I/O on the path it is on when a better one comes back.
	DisableAutoFailback bool
	// GenerateUUIDs derives the uuid of a namespace without identifiers from serial number and nsid.
	GenerateUUIDs bool
	// Multipath is the default policy.
	Multipath Multipath
}

// DefaultOptions returns what SPDK starts with.
func DefaultOptions() Options {
	return Options{
		KeepAliveTimeout: 10 * time.Second,
		BdevRetryCount:   3,
		Multipath:        Multipath{Policy: ActivePassive, MinIO: MinIOUnset},
	}
}

func (o *Options) validate() error {
	if o.BdevRetryCount < -1 {
		return invalid("bdev_retry_count is %d: it must be -1 or more", o.BdevRetryCount)
	}
	if o.KeepAliveTimeout < 0 || o.ConnectTimeout < 0 || o.AckTimeout < 0 {
		return invalid("timeouts must not be negative")
	}
	if err := o.Recovery.validate(); err != nil {
		return err
	}
	return o.Multipath.validate()
}
