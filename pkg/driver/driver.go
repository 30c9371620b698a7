// SPDX-License-Identifier: Apache-2.0

// Package driver says what a DPU's data plane can hold and do. The typed objects ([Bdev], [Path],
// [Subsystem], [Host], [Listener], [Namespace]) know their identity, what they need and how to tell
// whether what is there serves; a [Driver] observes them and carries out batches of steps on them.
//
// Everything that differs between data planes sits behind [Driver]; the engine above knows objects
// by these types only. Package drivertest holds the suite that every driver passes.
package driver

import (
	"context"
	"errors"
)

// Driver is one data plane. All methods are safe for concurrent use.
//
// Errors are of the classes of package errdefs. Two matter most: Unavailable says that nothing has
// been done, OutcomeUnknown that it may have been. Every other class is the data plane's definite
// refusal.
type Driver interface {
	// Run keeps the connection to the data plane, with backoff, until ctx ends; it owns all the
	// driver's goroutines and returns after the last of them. Call it once.
	Run(ctx context.Context) error
	// Events returns what happens to the data plane. One consumer; a consumer that is slow is told
	// less often, not later: pending events of the same kind are merged. Never closed.
	Events() <-chan Event
	// Status returns what is known of the data plane now, without asking it.
	Status() Status
	// Observe asks the data plane, in a handful of bulk calls, for everything it holds.
	Observe(ctx context.Context) (*Observation, error)
	// Look asks the data plane for single things, at a cost that does not grow with what else it
	// holds: the answer has at least what exists under the keys, and for the key of a [Remote] what
	// that brought. What is under a key and not in the answer does not exist.
	Look(ctx context.Context, keys []Key) (*Observation, error)
	// Apply carries out the steps and returns one error per step, nil where the step is done. Steps
	// run at the same time unless one names another in After; a step whose predecessor failed is not
	// tried and fails with ErrSkipped. A create of what exists already just as wanted succeeds only
	// if Step.Adopt is set; a delete of what does not exist succeeds.
	Apply(ctx context.Context, steps []Step) []error
}

// Observation is what a data plane held at one time. It is not changed after it was returned.
type Observation struct {
	// Epoch is the epoch (see [Status]) in which it was made.
	Epoch uint64
	// Objects holds everything of the types of this package, foreign objects too.
	Objects map[Key]Object
	// Firmware is the firmware revision that hosts see of NVMe subsystems, "" where that is not known.
	// The answer to a look may leave it out.
	Firmware string
}

// Op is what a step does.
type Op uint8

// The operations.
const (
	// Create makes Object.
	Create Op = iota + 1
	// Update changes what exists under Object's key in place, from From to Object.
	Update
	// Delete removes what exists under Object's key.
	Delete
)

// String returns "create", "update" or "delete".
func (o Op) String() string {
	switch o {
	case Create:
		return "create"
	case Update:
		return "update"
	case Delete:
		return "delete"
	}
	return "invalid"
}

// Step is one change to the data plane.
type Step struct {
	// Op is what to do.
	Op Op
	// Object is what it is done to.
	Object Object
	// From is, for Update only, what is there now.
	From Object
	// Adopt allows a Create to succeed when the object is there already, just as wanted. The engine
	// sets it when an earlier attempt of its own may have made it.
	Adopt bool
	// After lists indices of earlier steps of the same batch that must have succeeded before.
	After []int
}

// Remote marks objects whose steps wait for a peer outside the data plane, so that nothing else is
// made to wait for them; what they bring (bdevs) is found by the next Look or Observe.
type Remote interface {
	Object
	// Brings returns the name of the controller whose bdevs come with the object (see [NvmeOrigin]).
	Brings() string
}

// ReasonTargetUnreachable is the errdefs reason of the Unavailable that says a remote target cannot
// be reached, where the data plane itself is there and has changed nothing.
const ReasonTargetUnreachable = "TARGET_UNREACHABLE"

// ErrSkipped is the error of a step whose predecessor in the batch failed.
var ErrSkipped = errors.New("not tried, because a step before it failed")

// ErrNotInPlace is in the chain of the error of an Update that this driver cannot do in place.
var ErrNotInPlace = errors.New("cannot be changed in place")

// EventKind says what happened.
type EventKind uint8

// The events.
const (
	// EventUp: a connection to the data plane has been made. The data plane may be a new process that
	// has forgotten everything; Observe and see.
	EventUp EventKind = iota + 1
	// EventDown: the connection is lost.
	EventDown
	// EventChanged: bdevs have come, gone or changed their size, by whatever cause.
	EventChanged
)

// Event tells of something that happened to the data plane.
type Event struct {
	// Kind says what.
	Kind EventKind
}

// Status is what a driver knows of its data plane.
type Status struct {
	// Up says whether there is a connection.
	Up bool
	// Epoch counts connections; it grows with every EventUp.
	Epoch uint64
	// Version is the data plane's own words about its version, empty before the first connection.
	Version string
	// Err says why there is no connection, nil when Up.
	Err error
}

// IOStats are the 64-bit I/O counters of a bdev, a path or a sum of them.
type IOStats struct {
	ReadBytes, ReadOps, WriteBytes, WriteOps, UnmapBytes, UnmapOps uint64
	// Latencies are sums over all operations, in ticks; TickRate is ticks per second.
	ReadLatencyTicks, WriteLatencyTicks, UnmapLatencyTicks, TickRate uint64
}

// Add adds other to s.
func (s *IOStats) Add(other IOStats) {
	s.ReadBytes += other.ReadBytes
	s.ReadOps += other.ReadOps
	s.WriteBytes += other.WriteBytes
	s.WriteOps += other.WriteOps
	s.UnmapBytes += other.UnmapBytes
	s.UnmapOps += other.UnmapOps
	s.ReadLatencyTicks += other.ReadLatencyTicks
	s.WriteLatencyTicks += other.WriteLatencyTicks
	s.UnmapLatencyTicks += other.UnmapLatencyTicks
	s.TickRate = max(s.TickRate, other.TickRate)
}

// Statter is the further ability to count I/O.
type Statter interface {
	// Stats returns the counters of the objects with these keys (bdevs and paths), in their order.
	// One that does not exist fails all with NotFound.
	Stats(ctx context.Context, keys []Key) ([]IOStats, error)
}

// Resetter is the further ability to reset remote controllers.
type Resetter interface {
	// ResetController disconnects and reconnects every path of the remote controller of that name.
	ResetController(ctx context.Context, controller string) error
}

// HostCounter is the further ability to tell which hosts are connected.
type HostCounter interface {
	// ConnectedHosts returns how many controllers hosts hold at the moment through each listener of
	// the subsystem with that NQN, keyed by the listener's key.
	ConnectedHosts(ctx context.Context, subsystem string) (map[Key]int, error)
}
