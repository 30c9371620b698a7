// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"slices"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

// Status is how the engine and what it looks after stand.
type Status struct {
	// Loaded says that the store has been read since the start; Settled that the data plane has been
	// given back everything since it was last connected.
	Loaded, Settled bool
	// StoreErr says why the store does not answer, nil when it does.
	StoreErr error
	// DataPlane is the driver's status.
	DataPlane driver.Status
	// PassErr says why the data plane, though it is connected, could not be compared with the records
	// the last time, nil when it could. Requests are served, but nothing is found and repaired meanwhile.
	PassErr error
	// Resources counts the resources by state.
	Resources map[resource.State]int
	// NotReady lists what is not as wanted, by name; at most 100 of NotReadyCount.
	NotReady      []Problem
	NotReadyCount int
	// Behind is since when the data plane has not been as wanted somewhere: the oldest of all problems,
	// zero when there are none.
	Behind time.Time
	// Drift counts, by type of object, what was changed behind the engine's back and repaired.
	Drift map[driver.Type]uint64
	// Foreign counts, by type of object, what others have put into, or onto, what the engine made. It
	// is left alone.
	Foreign map[driver.Type]int
}

// Problem says why a resource is not as wanted.
type Problem struct {
	// Name is the resource's name.
	Name resource.Name
	// Err is why the last try failed.
	Err error
	// Since is when it was first found.
	Since time.Time
}

const maxProblems = 100

// Status returns how things stand now, without asking data plane or store.
func (e *Engine) Status() Status {
	dataPlane := e.cfg.Driver.Status()
	e.mu.RLock()
	defer e.mu.RUnlock()
	s := Status{
		Loaded:        e.loaded,
		Settled:       dataPlane.Up && e.settledEpoch == dataPlane.Epoch,
		StoreErr:      e.storeErr,
		DataPlane:     dataPlane,
		PassErr:       e.passErr,
		Resources:     maps.Clone(e.index.states),
		NotReadyCount: len(e.index.dirty) + len(e.index.unreadable),
		Drift:         maps.Clone(e.drift),
		Foreign:       maps.Clone(e.foreign.types),
	}
	for name := range e.index.dirty {
		if since := e.index.entries[name].since; !since.IsZero() && (s.Behind.IsZero() || since.Before(s.Behind)) {
			s.Behind = since
		}
	}
	for name, err := range e.index.unreadable {
		s.NotReady = append(s.NotReady, Problem{Name: name, Err: err})
	}
	for _, name := range slices.Sorted(maps.Keys(e.index.dirty)) {
		if len(s.NotReady) == maxProblems {
			break
		}
		if en := e.index.entries[name]; en.problem != nil {
			s.NotReady = append(s.NotReady, Problem{Name: name, Err: en.problem, Since: en.since})
		}
	}
	return s
}
